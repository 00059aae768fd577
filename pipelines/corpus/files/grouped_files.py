"""The files of an input as a table, and what many of them have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute

from pipelines.storage import FileInfo, file_infos

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

pc: Any = pyarrow.compute  # its functions are generated at import, so type checkers do not know them


class FileGroup(NamedTuple):
    """What the files of a directory, or of a partition of a table, have in common.

    Attributes:
        constants: columns with one value for all rows of these files, which the files themselves need not contain.
        partitions: those of these columns that are partitions of a table or below the given path. If a file contains
            such a column, its values must agree. Partitions in the given path itself are only defaults.
        table: the columns of the table that the files belong to; None if they belong to none.
    """

    constants: Mapping[str, pa.Scalar]
    partitions: frozenset[str] = frozenset()
    table: pa.Schema | None = None


class InputFile(NamedTuple):
    """A file of the input: its URL and identity, and its group."""

    info: FileInfo
    group: FileGroup


@dataclass(frozen=True)
class GroupedFiles:
    """Files and their groups.

    Attributes:
        table: a row for each file, with the columns `FILES`.
        group_of: the number of each file's group.
        groups: the groups.
    """

    table: pa.Table
    group_of: NDArray[np.int64]
    groups: list[FileGroup]

    def __len__(self) -> int:
        """Return the number of files."""
        return len(self.table)

    def take(self, numbers: NDArray[np.int64]) -> list[InputFile]:
        """Return the files with these numbers as Python objects."""
        infos, groups = file_infos(self.table.take(pa.array(numbers))), self.group_of[numbers].tolist()
        return [InputFile(info, self.groups[group]) for info, group in zip(infos, groups, strict=True)]

    def select(self, numbers: NDArray[np.int64]) -> GroupedFiles:
        """Return the files with these numbers and their groups, without other groups."""
        used, group_of = np.unique(self.group_of[numbers], return_inverse=True)
        return GroupedFiles(self.table.take(pa.array(numbers)), group_of, [self.groups[i] for i in used])

    @classmethod
    def join(cls, parts: Sequence[GroupedFiles]) -> GroupedFiles:
        """Return the files of all parts, each once, ordered by URL. Of several rows with one URL, the last counts."""
        starts = np.cumsum([0, *(len(part.groups) for part in parts)])
        joined = cls(
            pa.concat_tables(part.table for part in parts).combine_chunks(),
            np.concatenate([part.group_of + start for part, start in zip(parts, starts, strict=False)]),
            [group for part in parts for group in part.groups],
        )
        urls = joined.table["url"]
        if pc.all(pc.less(urls[:-1], urls[1:])).as_py() is not False:  # the usual case: one directory
            return joined
        order = pc.sort_indices(urls)  # stable
        urls = urls.take(order)
        is_last = np.append(pc.not_equal(urls[:-1], urls[1:]).to_numpy(), True)
        return joined.select(order.to_numpy()[is_last])
