"""The committed rows of an output: numbered, found by id, with their languages and the reasons of rejected rows."""

from pipelines.result_rows.loaded_output import LoadedOutput
from pipelines.result_rows.row_index import NumberedRows, RowIndex, hash_ids, join_ids, to_array

__all__ = [
    "LoadedOutput",
    "NumberedRows",
    "RowIndex",
    "hash_ids",
    "join_ids",
    "to_array",
]
