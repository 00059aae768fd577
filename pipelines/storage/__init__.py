"""Files wherever they lie: which store serves a URL, what its errors mean, how a file is read and written whole."""

from pipelines.storage.location import FileInfo, Location, final_name, locate, parquet_bytes, sync

__all__ = ["FileInfo", "Location", "final_name", "locate", "parquet_bytes", "sync"]
