"""The ids of rows: which rows have the id of an earlier row, over a corpus of any size."""

from pipelines.corpus.ids.duplicates import MAX_ROWS_IN_DRIVER, Duplicates, Repeat, find_duplicates
from pipelines.corpus.ids.hash_ids import hash_ids
from pipelines.corpus.ids.repeated_hashes import RepeatedHashes
from pipelines.corpus.ids.stored_hashes import StoredHashes

__all__ = [
    "MAX_ROWS_IN_DRIVER",
    "Duplicates",
    "Repeat",
    "RepeatedHashes",
    "StoredHashes",
    "find_duplicates",
    "hash_ids",
]
