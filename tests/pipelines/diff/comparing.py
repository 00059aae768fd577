"""Compare two outputs, as values and as printed text, and compute the same row by row."""

import io
import math

from rich.console import Console

from jobs.commands.output.diff import diff_outputs
from pipelines.diff import compare_outputs
from pipelines.storage import locate
from tests.flow.in_process import read_output


def compare(a, b):
    return compare_outputs(locate(a), locate(b))


def format_diff(a, b, **settings):
    buffer = io.StringIO()
    diff_outputs(a, b, Console(file=buffer, soft_wrap="width" not in settings, **settings))
    return buffer.getvalue()


def by_id(path, key="id"):
    return {row[key]: row for row in read_output(path).to_pylist()}


def cosine(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True)) / math.dist(a, [0] * len(a)) / math.dist(b, [0] * len(b))
