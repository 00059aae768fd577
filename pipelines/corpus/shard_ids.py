"""Derive the ids of shards from the identities of their files, and the positions of their rows in them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

pc: Any = pyarrow.compute  # its functions are generated at import, so type checkers do not know them

_MEMBERS_AT_ONCE = 65_536  # whose texts are in memory at once


def derive_ids(offsets: NDArray[np.int64], members: pa.Table) -> pa.ChunkedArray:
    """Derive the ids of shards, each of which has at least one member; see `build_plan` for the arguments.

    Other files of the corpus do not affect the id of a shard. The ids of shards that are consecutive rows of one file
    sort in row order.
    """
    return pa.chunked_array(_derive(offsets, members), pa.string())


def _derive(offsets: NDArray[np.int64], members: pa.Table) -> Iterator[pa.Array]:
    first, num_shards = 0, len(offsets) - 1
    while first < num_shards:
        # as many shards as have few members, but at least one
        last = max(first + 1, int(np.searchsorted(offsets, offsets[first] + _MEMBERS_AT_ONCE, "right")) - 1)
        some = members.slice(int(offsets[first]), int(offsets[last] - offsets[first])).combine_chunks()
        yield _derive_some(offsets[first : last + 1] - offsets[first], some)
        first = last


def _derive_some(offsets: NDArray[np.int64], members: pa.Table) -> pa.Array:
    starts = offsets[:-1]
    files = _join([members[name] for name in ("file", "size", "mtime_ns", "etag")], "\0")
    identities = _digests(files)
    file_rows, num_rows = members["file_row"].to_numpy(), members["num_rows"].to_numpy()
    follows = np.ones(len(members), np.bool_)  # whether a member's rows follow those of the one before it
    follows[1:] = pc.equal(files[1:], files[:-1]).to_numpy(zero_copy_only=False)
    follows[1:] &= file_rows[1:] == file_rows[:-1] + num_rows[:-1]
    follows[starts] = True
    # The rows of most shards follow each other in one file. The ids of others depend on the positions of all members.
    is_other = pa.array(~np.logical_and.reduceat(follows, starts))
    positions = _join([identities, *(members[name] for name in ("row_group", "first_row", "num_rows"))], "-")
    lists = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), positions).filter(is_other)
    prefixes = identities.take(pa.array(starts))
    prefixes = pc.replace_with_mask(prefixes, is_other, _digests(pc.binary_join(lists, "\0"), end=b"\0"))
    row_groups, first_rows = (
        pc.utf8_lpad(members[name].combine_chunks().take(pa.array(starts)).cast(pa.string()), width, "0")
        for name, width in (("row_group", 5), ("first_row", 9))
    )
    return _join([prefixes, row_groups, first_rows], "-")


def _join(columns: list[pa.Array | pa.ChunkedArray], separator: str) -> pa.Array:
    """Join the values of columns to one text for each row."""
    texts = (column.cast(pa.string()) for column in columns)
    arrays = (text.combine_chunks() if isinstance(text, pa.ChunkedArray) else text for text in texts)
    return pc.binary_join_element_wise(*arrays, separator)


def _digests(texts: pa.Array, end: bytes = b"") -> pa.Array:
    binary = texts.cast(pa.binary()).to_pylist()
    return pa.array([hashlib.sha256(text + end).hexdigest()[:16] for text in binary], pa.string())
