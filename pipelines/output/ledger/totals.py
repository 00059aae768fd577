"""Add up the records of many shards."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from pipelines.output.ledger.files import map_entries
from pipelines.output.shard_record import SECONDS, SHARD_COUNTS
from pipelines.rows import LANG_COUNTS, NUM_LENGTH_BINS, LangCounts

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

pc: Any = pyarrow.compute  # its functions are generated at import, so type checkers do not know them

# The columns of records that `add_up` reads.
ADDED_UP = ("shard", "file", "num_files", *SHARD_COUNTS, "reasons", "rejected_langs", "langs", *SECONDS)

_MAX_SLOWEST = 10
_SLOWEST = ("shard", "file", "num_files", "rows_in", "tokens", "seconds")


@dataclass(frozen=True)
class Totals:
    """Totals over the records of shards.

    Attributes:
        num_shards: number of records.
        counts: totals of `SHARD_COUNTS`.
        seconds: totals of `SECONDS`.
        reasons: number of rejected rows by reason, the most frequent first.
        rejected_langs: number of rejected rows by language, the most frequent first.
        langs: counts by language; the language with the most rows comes first.
        slowest: the ten shards that took longest, as `shard`, `file`, `num_files`, `rows_in`, `tokens` and `seconds`.
    """

    num_shards: int
    counts: Mapping[str, int]
    seconds: Mapping[str, float]
    reasons: dict[str, int]
    rejected_langs: dict[str, int]
    langs: list[LangCounts]
    slowest: list[dict[str, Any]]


def add_up(records: Iterable[pa.Table]) -> Totals:
    """Add up records that are read in batches, as tables with the columns `ADDED_UP`."""
    num_shards, counts = 0, Counter[str]()
    seconds: dict[str, float] = dict.fromkeys(SECONDS, 0.0)
    reasons, rejected_langs, langs = Counter[str](), Counter[str](), _Langs()
    slowest: pa.Table | None = None
    for rows in records:
        num_shards += len(rows)
        counts.update({name: pc.sum(rows[name]).as_py() or 0 for name in SHARD_COUNTS})
        seconds = {name: seconds[name] + (pc.sum(rows[name]).as_py() or 0.0) for name in SECONDS}
        reasons.update(_sum_by_key(rows["reasons"]))
        rejected_langs.update(_sum_by_key(rows["rejected_langs"]))
        langs.add(pc.list_flatten(rows["langs"]))
        slowest = _find_slowest(rows, slowest)
    return Totals(
        num_shards,
        {name: counts[name] for name in SHARD_COUNTS},
        seconds,
        _by_count(reasons),
        _by_count(rejected_langs),
        langs.totals(),
        [] if slowest is None else slowest.to_pylist(),
    )


def _sum_by_key(column: pa.ChunkedArray) -> dict[str, int]:
    _, keys, values = map_entries(column)
    sums = pa.table({"key": keys, "value": values}).group_by("key").aggregate([("value", "sum")])
    return dict(zip(sums["key"].to_pylist(), sums["value_sum"].to_pylist(), strict=True))


def _by_count(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _find_slowest(rows: pa.Table, others: pa.Table | None) -> pa.Table:
    read, *later = (rows[name] for name in SECONDS)
    for column in later:
        read = pc.add(read, column)
    rows = rows.append_column("seconds", read).select(_SLOWEST)
    rows = rows if others is None else pa.concat_tables([others, rows])
    return rows.sort_by([("seconds", "descending"), ("shard", "ascending")]).slice(0, _MAX_SLOWEST).combine_chunks()


class _Langs:
    """Adds up counts by language."""

    def __init__(self):
        self._sums: dict[str, NDArray[np.int64]] = {}  # LANG_COUNTS, and the bins of lengths
        self._with_lengths: set[str] = set()  # records of earlier versions have none

    def add(self, langs: pa.ChunkedArray) -> None:
        """Add structs of `LangCounts`."""
        if not len(langs):
            return
        encoded = pc.struct_field(langs, "lang").combine_chunks().dictionary_encode()
        codes, names = encoded.indices.to_numpy(), encoded.dictionary.to_pylist()
        lengths = pc.struct_field(langs, "lengths").combine_chunks()
        has_lengths = pc.list_value_length(lengths).fill_null(0).to_numpy() > 0
        counts = np.zeros((len(codes), len(LANG_COUNTS) + NUM_LENGTH_BINS), np.int64)
        for i, name in enumerate(LANG_COUNTS):
            counts[:, i] = pc.struct_field(langs, name).to_numpy()
        counts[has_lengths, len(LANG_COUNTS) :] = lengths.flatten().to_numpy().reshape(-1, NUM_LENGTH_BINS)
        order = np.argsort(codes, kind="stable")
        starts = np.searchsorted(codes[order], np.arange(len(names)))
        for name, sums in zip(names, np.add.reduceat(counts[order], starts), strict=True):
            self._sums[name] = self._sums.get(name, 0) + sums
        self._with_lengths.update(names[code] for code in np.unique(codes[has_lengths]))

    def totals(self) -> list[LangCounts]:
        """Return the totals. The language with the most rows comes first."""
        found: list[LangCounts] = []
        for name, sums in self._sums.items():
            counts, lengths = sums[: len(LANG_COUNTS)].tolist(), sums[len(LANG_COUNTS) :].tolist()
            found.append(LangCounts(name, *counts, lengths=tuple(lengths) if name in self._with_lengths else ()))
        return sorted(found, key=lambda total: (-total.rows, total.lang))
