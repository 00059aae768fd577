"""Verify, without the model, that an output is complete and correct."""

from pipelines.verify.check_output import Verdict, verify

__all__ = [
    "Verdict",
    "verify",
]
