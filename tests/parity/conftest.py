"""Every comparison with the reference goes through one object, which also writes them all into a table.

XLM_PARITY_TABLE=parity.md pytest tests/parity
"""

import os
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

HEADING = """\
# How near everything is to the reference

Written by `make parity`: the largest absolute difference from transformers' XLM classes, each sequence run alone
there, in float32 with random weights. A limit of 0 means equal. Whatever is above its limit fails the tests.

"""


@dataclass
class Line:
    """The comparisons of one (what, case)."""

    limit: float = 0.0
    difference: float = 0.0
    count: int = 0


class Parity:
    """Compares, remembers the largest difference, and fails where it passes the limit.

    `what` names the thing (`trunk hidden states`), `case` the situation (`causal, padded batch`).
    """

    def __init__(self):
        self._lines: dict[tuple[str, str], Line] = {}

    def __call__(self, what, case, ours, theirs, limit):
        """Compare numbers: tensors, arrays, or equally long sequences of them; NaN and infinities must be the same."""
        pairs = list(_pairs(ours, theirs))
        assert pairs, f"{what}, {case}: nothing to compare"
        difference = max(_difference(*pair) for pair in pairs)
        self._note(what, case, limit, difference, len(pairs))
        assert difference <= limit, f"{what}, {case}: differs by {difference:.3g}, at most {limit:g} is allowed"

    def exact(self, what, case, ours, theirs):
        """Compare ids, tokens or texts, nested in any way: every one must be the same."""
        ours, theirs = _plain(ours), _plain(theirs)
        self._note(what, case, 0.0, 0.0 if ours == theirs else torch.inf, 1)
        assert ours == theirs, f"{what}, {case}"

    def _note(self, what, case, limit, difference, count):
        line = self._lines.setdefault((what, case), Line())
        line.limit, line.difference = max(line.limit, limit), max(line.difference, difference)
        line.count += count

    def table(self):
        """Give the Markdown table, a line for each (what, case), sorted."""
        lines = ["| what | case | compared | largest difference | limit |", "|---|---|--:|--:|--:|"]
        for (what, case), line in sorted(self._lines.items()):
            difference, limit = (f"{x:.1e}" if x else "0" for x in (line.difference, line.limit))
            lines.append(f"| {what} | {case} | {line.count} | {difference} | {limit} |")
        return "\n".join(lines) + "\n"


def _pairs(ours, theirs):
    if isinstance(ours, list | tuple):
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            yield from _pairs(one, other)
    else:
        yield torch.as_tensor(ours), torch.as_tensor(theirs)


def _difference(ours, theirs):
    assert ours.shape == theirs.shape, f"{list(ours.shape)} against {list(theirs.shape)}"
    ours, theirs = ours.detach().cpu().double(), theirs.detach().cpu().double()
    same = (ours == theirs) | (ours.isnan() & theirs.isnan())
    apart = (ours - theirs).abs().masked_fill(same, 0.0).nan_to_num(nan=torch.inf, posinf=torch.inf)
    return apart.max().item() if apart.numel() else 0.0


def _plain(value):
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value.tolist() if hasattr(value, "tolist") else value


@pytest.fixture(scope="session")
def parity():
    comparisons = Parity()
    yield comparisons
    if file := os.environ.get("XLM_PARITY_TABLE"):
        Path(file).write_text(HEADING + comparisons.table(), encoding="utf-8")


@pytest.fixture
def no_gradients():
    with torch.inference_mode():
        yield
