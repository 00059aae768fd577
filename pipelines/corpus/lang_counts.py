"""Count the rows of the corpus by their language, by reading only the language column and those of the filter."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
import pyarrow.compute

from pipelines.corpus.member_reader import MemberReader, select_rows
from pipelines.corpus.parquet import UnsupportedInputError
from pipelines.corpus.planned_shard import read_groups
from pipelines.filter import parse_filter
from pipelines.rows import decode_text
from pipelines.thread_map import map_in_threads

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pipelines.corpus.planned_shard import Member, PlannedShard
    from pipelines.storage import StoreSettings

pc: Any = pyarrow.compute  # its functions are generated at import, so type checkers do not know them

_READ_THREADS = 8  # hide the latency of a store; on local files, 9 million rows per second and thread

_QUICK_ROWS, _QUICK_MEMBERS = 20_000_000, 500  # their languages are counted in seconds, also in a store


class LangValue(NamedTuple):
    """A value of the language column.

    Attributes:
        lang: the text; None for null. Bytes that are not UTF-8 are escaped.
        invalid_byte: the position of the first byte that is not UTF-8; None if all are.
    """

    lang: str | None
    invalid_byte: int | None = None


class MemberLangs(NamedTuple):
    """The languages of a member of a shard.

    Attributes:
        shard: id of the shard.
        file: URL of the input file.
        num_read: number of rows before the filter; those of an unreadable member are included.
        num_rows: number of rows after the filter, by the value of the language column.
        is_unreadable: whether it cannot be read; the job will fail its shard.
    """

    shard: str
    file: str
    num_read: int
    num_rows: Counter[LangValue]
    is_unreadable: bool = False


def is_counted_quickly(shards: pa.Table) -> bool:
    """Whether `count_langs` takes only seconds for the shards of a plan."""
    num_rows, num_members = (
        pc.sum(values).as_py() or 0 for values in (shards["num_rows"], pc.list_value_length(shards["members"]))
    )
    return num_rows <= _QUICK_ROWS and num_members <= _QUICK_MEMBERS


def count_langs(
    shards: pa.Table, lang_column: str, filter_text: str | None, stores: Sequence[StoreSettings] = ()
) -> Iterator[MemberLangs]:
    """Yield the number of rows by language of the members of all shards, in the order of the plan.

    Args:
        shards: the plan.
        lang_column: the column with the language of each row.
        filter_text: the job's filter; rows that it drops are not counted.
        stores: options of the stores that contain the corpus.
    """
    columns = sorted({lang_column} | (parse_filter(filter_text)[1] if filter_text else set()))
    count = partial(_count, columns=columns, lang_column=lang_column, filter_text=filter_text, stores=stores)
    for counts in map_in_threads(count, read_groups(shards), _READ_THREADS):
        yield from counts


def _count(
    shards: list[PlannedShard],
    columns: list[str],
    lang_column: str,
    filter_text: str | None,
    stores: Sequence[StoreSettings],
) -> list[MemberLangs]:
    with MemberReader(columns, stores) as reader:
        return [
            MemberLangs(
                shard.id, member.file, member.num_rows, *_count_member(member, reader, lang_column, filter_text)
            )
            for shard in shards
            for member in shard.members
        ]


def _count_member(
    member: Member, reader: MemberReader, lang_column: str, filter_text: str | None
) -> tuple[Counter[LangValue], bool]:
    """Return the number of rows by language, and whether the member is unreadable."""
    if filter_text is None and (lang := member.constants.get(lang_column)) is not None:  # a partition
        return Counter({LangValue(lang.as_py()): member.num_rows}), False
    try:
        rows = select_rows(reader.read(member), 0, filter_text)
    except (OSError, IndexError, pa.ArrowException, UnsupportedInputError):
        return Counter(), True
    counts = Counter[LangValue]()
    for chunk in rows[lang_column].chunks:
        distinct, num_rows = chunk.value_counts().flatten()
        langs, invalid = decode_text(distinct)
        for i, (lang, number) in enumerate(zip(langs, num_rows.to_pylist(), strict=True)):
            counts[LangValue(lang, invalid.get(i))] += number
    return counts, False
