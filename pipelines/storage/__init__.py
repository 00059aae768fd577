"""Files at any URL: clients of stores, retries, atomic writes, and settings of stores."""

from pipelines.storage.file_table import FILES, FileInfo, file_infos, file_table
from pipelines.storage.listing import Listing, describe_hidden, find_files, list_files
from pipelines.storage.local_files import final_name, fsync
from pipelines.storage.local_paths import local_path
from pipelines.storage.location import Location, locate
from pipelines.storage.overlap import find_files_below, find_overlap
from pipelines.storage.parquet_files import encode_parquet
from pipelines.storage.retries import (
    classify_error,
    describe_error,
    is_disk_error,
    is_permanent_status,
    with_retries,
)
from pipelines.storage.store_settings import StoreSettings, Url

__all__ = [
    "FILES",
    "FileInfo",
    "Listing",
    "Location",
    "StoreSettings",
    "Url",
    "classify_error",
    "describe_error",
    "describe_hidden",
    "encode_parquet",
    "file_infos",
    "file_table",
    "final_name",
    "find_files",
    "find_files_below",
    "find_overlap",
    "fsync",
    "is_disk_error",
    "is_permanent_status",
    "list_files",
    "local_path",
    "locate",
    "with_retries",
]
