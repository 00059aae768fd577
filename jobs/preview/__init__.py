"""A preview of an output: its state, and some of its rows in readable form."""

from jobs.preview.display import preview_to_json, print_preview
from jobs.preview.read import Preview, read_preview
from jobs.preview.values import to_python

__all__ = [
    "Preview",
    "preview_to_json",
    "print_preview",
    "read_preview",
    "to_python",
]
