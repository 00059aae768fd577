"""Ready jobs, one YAML file each. They run unchanged on the files of the demo; copy one and change its paths."""

from __future__ import annotations

from importlib.resources import files

SPECS = ("embed", "classify", "tag", "answer", "choose", "score", "fill", "nightly")


def read_spec(name: str) -> str:
    """Return the YAML text of one of `SPECS`."""
    return (files("jobs.specs") / f"{name}.yaml").read_text(encoding="utf-8")


__all__ = [
    "SPECS",
    "read_spec",
]
