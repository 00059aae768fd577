"""Files wherever they lie: which store serves a URL, what its errors mean, how a file is read and written whole."""

from pipelines.storage.location import FileInfo, Location, locate, parquet_bytes

__all__ = ["FileInfo", "Location", "locate", "parquet_bytes"]
