"""A small job with its own corpus and checkpoint, for trying out the system. Nothing is downloaded."""

from jobs.demo.build import write_demo

__all__ = [
    "write_demo",
]
