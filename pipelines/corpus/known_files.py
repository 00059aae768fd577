"""The files of a corpus that an earlier plan contains, so that their footers need not be read again."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute

from pipelines.corpus.planned_shard import MEMBER, constant_types, members_of, with_constants
from pipelines.storage import FILES, FileInfo, file_infos

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from pipelines.corpus.files import InputFiles
    from pipelines.job import InputSettings

pc: Any = pyarrow.compute  # its functions are generated at import, so type checkers do not know them

# In the metadata of a plan.
_BASIS, _FIRST, _FIRST_SCHEMA = b"xlm:basis", b"xlm:first", b"xlm:first_schema"
_DISTINCT_IDS = b"xlm:distinct_ids"

# The columns of `MEMBER` that tell one version of a file from others; those of `FILES`.
_FILE = pa.schema([MEMBER.field(i) for i in range(len(FILES))])

# The columns of row groups in addition to those of `MEMBER`.
FILE_INDEX, IS_PRUNED = "file_index", "is_pruned"


def have_same_files(table: pa.Table, rows: NDArray[np.int64], other: pa.Table) -> NDArray[np.bool_]:
    """Return for each row of another table whether it has the same version of the same file as a row of this one."""
    taken = pa.array(rows)
    return np.logical_and.reduce([pc.equal(table[name].take(taken), other[name]).to_numpy() for name in _FILE.names])


class FirstFile(NamedTuple):
    """The file whose types those of all others must agree with, and its columns."""

    info: FileInfo
    schema: pa.Schema

    def to_metadata(self, basis: str, *, ids_are_distinct: bool) -> dict[bytes, bytes]:
        """Return the metadata of a plan by which `KnownFiles` finds out whether it can be used.

        Args:
            basis: digest of the settings on which the plan depends.
            ids_are_distinct: whether all ids of the files were compared, and none is repeated.
        """
        schema = base64.b64encode(self.schema.serialize().to_pybytes())
        found = {_BASIS: basis.encode(), _FIRST: json.dumps(self.info).encode(), _FIRST_SCHEMA: schema}
        return found | {_DISTINCT_IDS: b""} if ids_are_distinct else found

    @classmethod
    def from_metadata(cls, metadata: Mapping[bytes, bytes], basis: str) -> FirstFile | None:
        """Read the first file from the metadata of a plan; None if it is of another basis, or damaged."""
        if metadata.get(_BASIS) != basis.encode():
            return None
        try:
            schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(metadata[_FIRST_SCHEMA])))
            return cls(FileInfo(*json.loads(metadata[_FIRST])), schema)
        except (LookupError, TypeError, ValueError, pa.ArrowException):
            return None


class GoneFiles(NamedTuple):
    """The files of an earlier plan that changed or were deleted.

    Attributes:
        urls: the files.
        num_rows: number of their rows.
        num_planned: number of rows of the whole plan.
    """

    urls: list[str]
    num_rows: int
    num_planned: int


@dataclass(frozen=True)
class KnownFiles:
    """The files of a corpus that an earlier plan contains, in the same version.

    Attributes:
        is_known: for each file of the listing, whether it is known.
        gone: the other files of the plan; None if there is no plan.
        first: the first file of the plan; None if it is not known any more.
        row_groups: the row groups of known files, whole, with `FILE_INDEX`, their file's number in the listing, and
            `IS_PRUNED`.
        ids_are_distinct: whether all files of the listing are known, and no two of their rows have the same id.
    """

    is_known: NDArray[np.bool_]
    gone: GoneFiles | None = None
    first: FirstFile | None = None
    row_groups: pa.Table | None = None
    ids_are_distinct: bool = False

    @classmethod
    def find(cls, kept: pa.Table | None, basis: str, files: pa.Table) -> KnownFiles:
        """Find the known files of a listing.

        Args:
            kept: an earlier plan.
            basis: digest of the settings on which a plan depends. Of a plan with another one, only `gone` is found.
            files: the listing, with the columns `FILES`.
        """
        if kept is None:
            return cls(np.zeros(len(files), np.bool_))
        offsets, members = members_of(kept)
        is_pruned = np.repeat(kept["shard"].is_null().to_numpy(), np.diff(offsets))
        is_known, index_of = _match(members, files)
        is_gone = (index_of < 0) & ~is_pruned
        num_rows = members["num_rows"].to_numpy()
        urls = members["file"].filter(pa.array(is_gone)).unique().to_pylist()
        gone = GoneFiles(urls, int(num_rows[is_gone].sum()), int(num_rows[~is_pruned].sum()))
        first = FirstFile.from_metadata(kept.schema.metadata or {}, basis)
        if first is None or not is_known.any():
            return cls(np.zeros(len(files), np.bool_), gone)
        ids_are_distinct = bool(is_known.all()) and _DISTINCT_IDS in kept.schema.metadata
        if first.info not in file_infos(files.filter(pc.equal(files["url"], first.info.url))):
            first = None
            is_known[np.argmax(is_known)] = False  # the next one to be the first, so its columns must be read
            index_of[~is_known[index_of]] = -1
        members = members.append_column(FILE_INDEX, pa.array(index_of)).append_column(IS_PRUNED, pa.array(is_pruned))
        row_groups = _join_pieces(members.filter(pa.array(index_of >= 0)))
        return cls(is_known, gone, first, row_groups, ids_are_distinct)

    def merge(self, read: Sequence[pa.Table]) -> tuple[pa.Table, pa.Table]:
        """Merge the row groups of known files with those of others.

        Returns:
            Those that are read and those that are not, in input order.
        """
        tables = [table for table in (self.row_groups, *read) if table is not None]
        types = {name: kind for table in tables for name, kind in constant_types(table).items()}
        merged = (
            pa.concat_tables([with_constants(table, types) for table in tables]) if tables else MEMBER.empty_table()
        )
        if not tables:
            return merged, merged
        order = np.lexsort((merged["row_group"].to_numpy(), merged[FILE_INDEX].to_numpy()))
        is_pruned = merged[IS_PRUNED].to_numpy()[order]
        merged = merged.drop_columns([FILE_INDEX, IS_PRUNED])
        read, pruned = (merged.take(pa.array(order[chosen])).combine_chunks() for chosen in (~is_pruned, is_pruned))
        return read, pruned


def describe_basis(spec: InputSettings, found: InputFiles) -> str:
    """Return a digest of all settings on which a plan depends, apart from the files and their footers."""
    tables = {id(group.table): group.table for group in found.files.groups if group.table is not None}
    settings = spec.model_dump(mode="json", exclude={"path"})
    parts = [json.dumps(settings, sort_keys=True), str(found.partition_types), *sorted(map(str, tables.values()))]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _match(members: pa.Table, files: pa.Table) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Return for each file whether it has members, all of its version, and for each member the number of such a file.

    The number is -1 for the members of other files.
    """
    index_of = pc.fill_null(pc.index_in(members["file"], value_set=files["url"]), -1).to_numpy().astype(np.int64)
    is_listed = index_of >= 0
    is_same = have_same_files(files.rename_columns(_FILE.names), np.maximum(index_of, 0), members)
    is_known = np.zeros(len(files), np.bool_)
    is_known[index_of[is_listed]] = True
    is_known[index_of[is_listed & ~is_same]] = False
    return is_known, np.where(is_known[index_of], index_of, -1)


def _join_pieces(members: pa.Table) -> pa.Table:
    """Join the parts of each row group."""
    files, numbers = members[FILE_INDEX].to_numpy(), members["row_group"].to_numpy()
    order = np.lexsort((members["first_row"].to_numpy(), numbers, files))
    files, numbers = files[order], numbers[order]
    starts = np.flatnonzero((np.diff(files, prepend=-1) != 0) | (np.diff(numbers, prepend=-1) != 0))
    joined = members.take(pa.array(order[starts]))
    for name in ("num_rows", "text_bytes"):
        sums = np.add.reduceat(members[name].to_numpy()[order], starts) if len(starts) else starts
        joined = joined.set_column(joined.schema.get_field_index(name), MEMBER.field(name), pa.array(sums, pa.int64()))
    return joined
