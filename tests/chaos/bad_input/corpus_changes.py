"""Changes to the corpus of a trial job."""

import os
import struct
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.chaos.bad_input.trial_job import GOOD_ROWS, Change, TrialJob


def apply_all(*changes: Change) -> Change:
    """Make several changes."""

    def change(job: TrialJob) -> None:
        for one in changes:
            one(job)

    return change


def add_file(name: str, data: bytes) -> Change:
    """Add a file with this content to the corpus."""
    return lambda job: job.corpus.joinpath(name).write_bytes(data) and None


def change_bytes(change: Callable[[bytes], bytes]) -> Change:
    """Change the content of the corpus's only file."""

    def damage(job: TrialJob) -> None:
        file = job.corpus / "a.parquet"
        file.write_bytes(change(file.read_bytes()))

    return damage


def replace_column(name: str, values: pa.Array, *, file: str = "a.parquet") -> Change:
    """Replace the values of a column."""
    return lambda job: (
        job.write(GOOD_ROWS.set_column(GOOD_ROWS.schema.get_field_index(name), name, values), file) and None
    )


def change_footer(data: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """Change the metadata at the end of a Parquet file, and correct their length."""
    (length,) = struct.unpack("<I", data[-8:-4])
    changed = change(data[-8 - length : -8])
    return data[: -8 - length] + changed + struct.pack("<I", len(changed)) + data[-4:]


def add_fifo(job: TrialJob) -> None:
    os.mkfifo(job.corpus / "b.parquet")


def link_to_corpus(job: TrialJob) -> None:
    (job.corpus / "again").symlink_to(job.corpus)


def select_file(name: str) -> Change:
    """Use only one file of the folder as the corpus."""
    return lambda job: job.set("input.path", f"{job.corpus}/{name}")


def use_empty_directory(job: TrialJob) -> None:
    (job.folder / "empty").mkdir()
    job.set("input.path", f"{job.folder}/empty")


def repeat_id(job: TrialJob) -> None:
    job.write(pa.concat_tables([GOOD_ROWS, GOOD_ROWS.slice(1)]))


def add_file_of_type(name: str, kind: pa.DataType, values: list[Any], *, keep: bool = False) -> Change:
    """Add a file in which a column of the first file has another type."""

    def change(job: TrialJob) -> None:
        job.write(GOOD_ROWS.set_column(0, "id", pa.array(["c", "d"])), "b.parquet")
        table = pq.read_table(job.corpus / "b.parquet")
        if name not in table.column_names:
            job.write(GOOD_ROWS.append_column(name, pa.array([1, 2], pa.int64())))
            table = table.append_column(name, pa.array([None, None], kind))
        index = table.column_names.index(name)
        job.write(table.set_column(index, name, pa.array(values).cast(kind)), "b.parquet")
        if keep:
            job.set("input.keep", [name])

    return change


def add_changed_file(change: Callable[[pa.Table], pa.Table], **options: Any) -> Change:
    """Add a file whose table is changed, for example in its schema."""

    def add(job: TrialJob) -> None:
        for key, value in options.items():
            job.set(key.replace("__", "."), value)
        table = pa.table({"id": ["c", "d"], "text": ["Bonjour.", "Buenos días."], "lang": ["fr", "es"], "n": [1, 2]})
        job.write(GOOD_ROWS.append_column("n", pa.array([3, 4])))
        job.write(change(table), "b.parquet")

    return add


def cast_column(name: str, kind: pa.DataType) -> Callable[[pa.Table], pa.Table]:
    """Return a function that casts a column of a table."""
    return lambda table: table.set_column(table.column_names.index(name), name, table[name].cast(kind))


TWO_FILES = add_changed_file(lambda table: table)


def add_damaged_file(change: Callable[[bytes], bytes], **options: Any) -> Change:
    """Add a file with a valid footer and damaged data."""

    def add(job: TrialJob) -> None:
        table = pa.table({"id": [f"x{i}" for i in range(500)], "text": ["Some text."] * 500, "lang": ["en"] * 500})
        path = job.write(table, "b.parquet", **options)
        path.write_bytes(change(path.read_bytes()))

    return add


def overwrite(start: int, end: int) -> Callable[[bytes], bytes]:
    return lambda data: data[:start] + b"\xff" * (end - start) + data[end:]


def enlarge_first_page(data: bytes) -> bytes:
    """Enlarge the size in the header of the first page. The header starts with the page's type and its two sizes."""
    assert data[4:6] == b"\x15\x04"  # a dictionary page
    return data[:6] + b"\x15\xfe\xff\xff\xff\x0f" + data[12:]
