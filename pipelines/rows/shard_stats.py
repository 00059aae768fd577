"""Statistics of a shard: what the stages counted and measured, passed on from stage to stage."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import pyarrow as pa

from pipelines.rows.sources import SOURCES_TYPE, Source

UNKNOWN_LANG = "und"  # rows whose language is not in the checkpoint's lang2id are counted under this ISO 639 code

# The fields of LangCounts, in the order of the ledger's columns.
LANG_COUNTS = ("rows", "tokens", "truncated", "unknown")
LANG_COUNTS_TYPE = pa.struct(
    [("lang", pa.string()), *((name, pa.int64()) for name in LANG_COUNTS), ("lengths", pa.list_(pa.int64()))]
)

NUM_LENGTH_BINS = 16


@dataclass(frozen=True, slots=True)
class LangCounts:
    """Counts of a shard's written rows in one language.

    Attributes:
        lang: the language code as in the data, or `UNKNOWN_LANG`. If a shard has very many, the checkpoint's code.
        rows: number of rows.
        tokens: tokens fed to the model.
        truncated: tokens that were cut off.
        unknown: tokens not in the vocabulary, counted before truncation.
        lengths: number of rows with 2**i to 2**(i + 1) - 1 tokens, before truncation, for each i. The last bin has all
            longer rows, too. Empty in records of earlier versions.
    """

    lang: str
    rows: int
    tokens: int
    truncated: int
    unknown: int
    lengths: tuple[int, ...] = ()

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> LangCounts:
        """Build the counts from a struct's Python value."""
        values = dict(row)
        lengths: list[int] | None = values.pop("lengths", None)
        return cls(**values, lengths=tuple(lengths or ()))


def length_bin(num_tokens: int) -> int:
    """Return the index in `LangCounts.lengths` of a row with this number of tokens."""
    return min(max(num_tokens, 1).bit_length(), NUM_LENGTH_BINS) - 1


@dataclass(frozen=True)
class ShardStats:
    """What the stages counted and measured for one shard.

    Attributes:
        sources: where its rows come from.
        rows_in: rows that pass the filter.
        rows_truncated: rows that were truncated.
        tokens: tokens fed to the model.
        oom_halvings: how often the tokens per forward pass were halved because memory ran out.
        langs: counts by language.
        segmenters: the segmenters of its rows; see `ShardRecord`.
        precision: the data type of the trunk's weights; empty until a model has run.
        read_s, identify_s, tokenize_s, infer_s: seconds that each stage took.
    """

    sources: tuple[Source, ...]
    rows_in: int = 0
    rows_truncated: int = 0
    tokens: int = 0
    oom_halvings: int = 0
    langs: tuple[LangCounts, ...] = ()
    segmenters: dict[str, str] = field(default_factory=dict[str, str])
    precision: str = ""
    read_s: float = 0.0
    identify_s: float = 0.0
    tokenize_s: float = 0.0
    infer_s: float = 0.0

    @property
    def rows_read(self) -> int:
        """Rows of the shard before the filter."""
        return sum(source.num_rows for source in self.sources)

    def to_array(self) -> pa.StructArray:
        """Return the statistics as an array of one struct."""
        values = asdict(self) | {"sources": [source._asdict() for source in self.sources]}
        return pa.array([values], STATS_TYPE)

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> ShardStats:
        """Build the statistics from a struct's Python value."""
        values = dict(row)
        values["sources"] = tuple(Source(**source) for source in row["sources"])
        values["langs"] = tuple(LangCounts.from_row(lang) for lang in row["langs"])
        values["segmenters"] = dict(row["segmenters"])
        return cls(**values)


STATS_TYPE = pa.struct(
    [
        ("sources", SOURCES_TYPE),
        *((name, pa.int64()) for name in ("rows_in", "rows_truncated", "tokens", "oom_halvings")),
        ("langs", pa.list_(LANG_COUNTS_TYPE)),
        ("segmenters", pa.map_(pa.string(), pa.string())),
        ("precision", pa.string()),
        *((name, pa.float64()) for name in ("read_s", "identify_s", "tokenize_s", "infer_s")),
    ]
)
