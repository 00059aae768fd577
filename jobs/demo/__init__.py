"""A small job with its own corpus and checkpoint, for trying out the system. Nothing is downloaded."""

from jobs.demo.build import write_demo
from jobs.demo.neighbours import Neighbour, find_neighbours

__all__ = [
    "Neighbour",
    "find_neighbours",
    "write_demo",
]
