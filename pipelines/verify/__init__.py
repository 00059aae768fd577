"""Proof, without the model, that an output is what its job promised."""

from pipelines.verify.check_output import Verdict, verify

__all__ = ["Verdict", "verify"]
