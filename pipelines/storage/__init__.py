"""Files wherever they lie: which store serves a URL, what its errors mean, how a file is read and written whole."""

from pipelines.storage.listing import find_files
from pipelines.storage.location import FileInfo, Location, final_name, locate, parquet_bytes, sync
from pipelines.storage.options import StoreSettings, Url
from pipelines.storage.retries import judged, reason

__all__ = [
    "FileInfo",
    "Location",
    "StoreSettings",
    "Url",
    "final_name",
    "find_files",
    "judged",
    "locate",
    "parquet_bytes",
    "reason",
    "sync",
]
