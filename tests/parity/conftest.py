"""The `parity` fixture: compares results with the reference and writes a table of all comparisons.

XLM_PARITY_TABLE=parity.md pytest tests/parity
"""

import os
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

HEADING = """\
# Differences from the reference

Written by `make parity`. The table shows the largest absolute difference from the XLM classes of transformers, which
run each sequence alone, in float32 with random weights. A limit of 0 means that results must be equal. A difference
above its limit fails the tests.

"""


@dataclass
class Line:
    """All comparisons of one (what, case) pair."""

    limit: float = 0.0
    difference: float = 0.0
    count: int = 0


class Parity:
    """Compares results, records the largest difference, and fails if it exceeds the limit.

    `what` names the compared result (`trunk hidden states`), `case` the conditions (`causal, padded batch`).
    """

    def __init__(self):
        self._lines: dict[tuple[str, str], Line] = {}

    def __call__(self, what, case, ours, theirs, limit):
        """Compare tensors, arrays, or sequences of them of equal length; NaN and infinite values must be equal."""
        pairs = list(_pairs(ours, theirs))
        assert pairs, f"{what}, {case}: nothing to compare"
        difference = max(_difference(*pair) for pair in pairs)
        self._record(what, case, limit, difference, len(pairs))
        assert difference <= limit, f"{what}, {case}: differs by {difference:.3g}, expected at most {limit:g}"

    def exact(self, what, case, ours, theirs):
        """Compare ids, tokens or texts in any nested structure; all must be equal."""
        ours, theirs = _to_builtin(ours), _to_builtin(theirs)
        self._record(what, case, 0.0, 0.0 if ours == theirs else torch.inf, 1)
        assert ours == theirs, f"{what}, {case}"

    def _record(self, what, case, limit, difference, count):
        line = self._lines.setdefault((what, case), Line())
        line.limit, line.difference = max(line.limit, limit), max(line.difference, difference)
        line.count += count

    def table(self):
        """Return a Markdown table with a sorted line for each (what, case) pair."""
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
    is_equal = (ours == theirs) | (ours.isnan() & theirs.isnan())
    differences = (ours - theirs).abs().masked_fill(is_equal, 0.0).nan_to_num(nan=torch.inf, posinf=torch.inf)
    return differences.max().item() if differences.numel() else 0.0


def _to_builtin(value):
    if isinstance(value, dict):
        return {key: _to_builtin(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_to_builtin(item) for item in value]
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
