"""A small job to try everything with, made from what is in this package alone."""

from jobs.demo.build import write_demo

__all__ = [
    "write_demo",
]
