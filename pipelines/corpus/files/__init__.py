"""Which files the input has: tables, partitions, and files of other formats than Parquet."""

from pipelines.corpus.files.grouped_files import FileGroup, GroupedFiles, InputFile
from pipelines.corpus.files.input_files import InputFiles, find_input_files
from pipelines.corpus.files.other_formats import describe_not_parquet
from pipelines.corpus.files.partitions import check_partitions
from pipelines.corpus.files.tables import check_columns, has_field_ids

__all__ = [
    "FileGroup",
    "GroupedFiles",
    "InputFile",
    "InputFiles",
    "check_columns",
    "check_partitions",
    "describe_not_parquet",
    "find_input_files",
    "has_field_ids",
]
