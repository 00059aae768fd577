"""Corpora that cannot be read, and corpora of which the files disagree."""

import os
import struct
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.chaos.bad_input.bad_job_files import setting, settings
from tests.chaos.bad_input.bench import GOOD, Bench, Fails, Harmless, Refused, Spoil


def both(*changes: Spoil) -> Spoil:
    """Do one thing after the other."""

    def change(bench: Bench) -> None:
        for one in changes:
            one(bench)

    return change


def holds(name: str, data: bytes) -> Spoil:
    """Put a file of these bytes into the corpus."""
    return lambda bench: bench.corpus.joinpath(name).write_bytes(data) and None


def damaged(change: Callable[[bytes], bytes]) -> Spoil:
    """Change the bytes of the one file of the corpus."""

    def damage(bench: Bench) -> None:
        file = bench.corpus / "a.parquet"
        file.write_bytes(change(file.read_bytes()))

    return damage


def column(name: str, values: pa.Array, *, file: str = "a.parquet") -> Spoil:
    """Have a column of a file hold other values."""
    return lambda bench: bench.write(GOOD.set_column(GOOD.schema.get_field_index(name), name, values), file) and None


def footer(data: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """Change the metadata at the end of a Parquet file, and say its length anew."""
    (length,) = struct.unpack("<I", data[-8:-4])
    changed = change(data[-8 - length : -8])
    return data[: -8 - length] + changed + struct.pack("<I", len(changed)) + data[-4:]


def _fifo(bench: Bench) -> None:
    os.mkfifo(bench.corpus / "b.parquet")


def _loop(bench: Bench) -> None:
    (bench.corpus / "again").symlink_to(bench.corpus)


def _only(name: str) -> Spoil:
    """Have the corpus be that file of its folder."""
    return lambda bench: bench.set("input.path", f"{bench.corpus}/{name}")


def _empty_directory(bench: Bench) -> None:
    (bench.folder / "empty").mkdir()
    bench.set("input.path", f"{bench.folder}/empty")


def _repeated(bench: Bench) -> None:
    bench.write(pa.concat_tables([GOOD, GOOD.slice(1)]))


def two_files(name: str, kind: pa.DataType, values: list[Any], *, keep: bool = False) -> Spoil:
    """Have a second file in which a column, that the first has as well, is of another type."""

    def change(bench: Bench) -> None:
        bench.write(GOOD.set_column(0, "id", pa.array(["c", "d"])), "b.parquet")
        table = pq.read_table(bench.corpus / "b.parquet")
        if name not in table.column_names:
            bench.write(GOOD.append_column(name, pa.array([1, 2], pa.int64())))
            table = table.append_column(name, pa.array([None, None], kind))
        index = table.column_names.index(name)
        bench.write(table.set_column(index, name, pa.array(values).cast(kind)), "b.parquet")
        if keep:
            bench.set("input.keep", [name])

    return change


def drift(change: Callable[[pa.Table], pa.Table], **options: Any) -> Spoil:
    """Have a second file, which holds its rows in another way; without a change it is the plain corpus."""

    def spoil(bench: Bench) -> None:
        for key, value in options.items():
            bench.set(key.replace("__", "."), value)
        table = pa.table({"id": ["c", "d"], "text": ["Bonjour.", "Buenos días."], "lang": ["fr", "es"], "n": [1, 2]})
        bench.write(GOOD.append_column("n", pa.array([3, 4])))
        bench.write(change(table), "b.parquet")

    return spoil


def cast(name: str, kind: pa.DataType) -> Callable[[pa.Table], pa.Table]:
    """Cast a column, which for dictionaries encodes it."""
    return lambda table: table.set_column(table.column_names.index(name), name, table[name].cast(kind))


PLAIN = drift(lambda table: table)


def second_file(change: Callable[[bytes], bytes], **options: Any) -> Spoil:
    """Have a second file whose footer is whole, and whose data is not."""

    def spoil(bench: Bench) -> None:
        table = pa.table({"id": [f"x{i}" for i in range(500)], "text": ["Some text."] * 500, "lang": ["en"] * 500})
        path = bench.write(table, "b.parquet", **options)
        path.write_bytes(change(path.read_bytes()))

    return spoil


def _noise(start: int, end: int) -> Callable[[bytes], bytes]:
    return lambda data: data[:start] + b"\xff" * (end - start) + data[end:]


def _lies(data: bytes) -> bytes:
    """Have the first page say that it is longer than it is: its header begins with its kind and its two sizes."""
    assert data[4:6] == b"\x15\x04"  # a dictionary page
    return data[:6] + b"\x15\xfe\xff\xff\xff\x0f" + data[12:]


CORPORA: list[Refused | Harmless | Fails] = [
    Refused("a corpus that is not there", _only("gone.parquet"), "no such file or directory; correct input.path"),
    Refused("a glob that matches nothing", _only("*.pq"), "no file matches; correct input.path"),
    Refused("an empty directory", _empty_directory, "the directory holds no data files; correct input.path"),
    Refused("a URL of no known kind", setting("input.path", "nope://x/y"), "nothing here reads nope://"),
    Refused("a URL without a kind", setting("input.path", "://x"), "no such file or directory"),
    Refused(
        "a link to itself in the corpus",
        lambda bench: (bench.corpus / "b.parquet").symlink_to("b.parquet"),
        "b.parquet",
    ),
    Refused(
        "a file name that is no UTF-8",
        lambda bench: (bench.corpus / "a.parquet").rename(bench.corpus / os.fsdecode(b"caf\xe9.parquet")) and None,
        "\\udce9",
    ),
    Refused("CSV for Parquet", holds("a.parquet", b"id,text,lang\n1,hello,en\n"), "not a Parquet file (24 bytes)"),
    Refused("a file of another kind beside the data", holds("README.md", b"# The corpus, as of May"), "not a Parquet"),
    Refused("a file of no bytes", holds("b.parquet", b""), "b.parquet: not a Parquet file (0 bytes)"),
    Refused("a file of zeros", holds("b.parquet", bytes(4096)), "b.parquet: not a Parquet file (4096 bytes)"),
    Refused("the first four bytes of Parquet", damaged(lambda data: data[:4]), "not a Parquet file (4 bytes)"),
    Refused("Parquet without the end of its footer", damaged(lambda data: data[:-9]), "a damaged or truncated Parquet"),
    Refused("Parquet cut off in the data", damaged(lambda data: data[:200]), "a damaged or truncated Parquet file"),
    Refused("Parquet without its last byte", damaged(lambda data: data[:-1]), "a damaged or truncated Parquet file"),
    Refused("Parquet without its first bytes", damaged(lambda data: data[9:]), "not a Parquet file"),
    Refused("an encrypted footer", damaged(lambda data: data[:-4] + b"PARE"), "a damaged or truncated Parquet file"),
    Refused("a file that is encrypted whole", damaged(lambda data: b"PARE" + data[4:-4] + b"PARE"), "not a Parquet"),
    Refused(
        "a footer longer than the file",
        damaged(lambda data: data[:-8] + b"\xff\xff\xff\x7fPAR1"),
        "a damaged or truncated Parquet file",
    ),
    Refused(
        "a footer of negative length",
        damaged(lambda data: data[:-8] + b"\xff\xff\xff\xffPAR1"),
        "a damaged or truncated Parquet file",
    ),
    Refused("a footer of noise", damaged(lambda data: footer(data, lambda old: bytes(len(old)))), "a damaged or trun"),
    Refused("a footer cut short", damaged(lambda data: footer(data, lambda old: old[:50])), "a damaged or truncated"),
    Refused(
        "three bad files of four",
        both(*(holds(f"{i}.parquet", b"PAR1 and then nothing") for i in range(3))),
        "2.parquet: a damaged or truncated",
    ),
    Refused(
        "a corpus without rows", lambda bench: bench.write(GOOD.slice(0, 0)) and None, "no rows; correct input.path"
    ),
    Refused("a FIFO for a corpus", both(_fifo, _only("b.parquet")), "b.parquet"),
    Refused("a column that is not there", setting("input.text", "txt"), "no column txt; did you mean text?"),
    Refused("a column like none that is there", setting("input.keep", ["zzz"]), "no column zzz; it has id, text, lang"),
    Refused(
        "a column that is there twice",
        lambda bench: (
            bench.write(pa.Table.from_arrays([*GOOD.columns, GOOD["text"]], names=["id", "text", "lang", "text"]))
            and None
        ),
        "has 2 columns text; give each column its own name",
    ),
    Refused("numbers for texts", column("text", pa.array([1, 2])), "input.text text is int64; expected text"),
    Refused("bytes for texts", column("text", pa.array([b"a", b"b"])), "input.text text is binary; expected text"),
    Refused("nothing but nulls, of no type", column("text", pa.nulls(2)), "input.text text is null; expected text"),
    Refused(
        "lists of numbers for texts", column("text", pa.array([[1], [2]])), "input.text text is list<element: int64>"
    ),
    Refused(
        "lists of lists for texts", column("text", pa.array([[["a"]], [["b"]]])), "expected text, or lists of text"
    ),
    Refused("structs for texts", column("text", pa.array([{"a": "b"}, None])), "input.text text is struct<a: string>"),
    Refused("numbers for languages", column("lang", pa.array([1, 2])), "input.lang lang is int64; expected text"),
    Refused("lists for languages", column("lang", pa.array([["en"], ["de"]])), "input.lang lang is list<"),
    Refused("fractions for ids", column("id", pa.array([0.5, 1.5])), "input.id id is double; expected text or whole"),
    Refused("lists for ids", column("id", pa.array([["a"], ["b"]])), "expected text or whole numbers"),
    Refused("ids that repeat", _repeated, "row 2 has that of"),
    Refused(
        "a kept column of another type in one file",
        two_files("n", pa.string(), [1, 2], keep=True),
        "b.parquet: column n is string, but int64 in",
    ),
    Refused(
        "a kept column of fewer bits in one file",
        two_files("n", pa.int32(), [1, 2], keep=True),
        "b.parquet: column n is int32, but int64 in",
    ),
    Refused(
        "ids of numbers in one file, of texts in another",
        two_files("id", pa.int64(), [1, 2]),
        "b.parquet: column id is int64, but string in",
    ),
    Refused(
        "texts as bytes in one file", two_files("text", pa.binary(), ["x", "y"]), "b.parquet: input.text text is binary"
    ),
    Refused(
        "texts as words in one file",
        lambda bench: (
            bench.write(GOOD.set_column(1, "text", pa.array([["Good", "day"], ["Guten", "Tag"]])), "b.parquet") and None
        ),
        "b.parquet: column text is list<element: string>, but string in",
    ),
    Refused("a column that one file lacks", drift(lambda table: table.drop(["lang"])), "b.parquet: no column lang"),
    Refused(
        "a kept column that one file lacks",
        drift(lambda table: table.drop(["n"]), input__keep=["n"]),
        "b.parquet: no column n",
    ),
    Refused(
        "a filtered column that one file lacks",
        drift(lambda table: table.drop(["n"]), input__filter="n > 1"),
        "b.parquet: no column n",
    ),
    Refused(
        "a filtered column of another type in one file",
        drift(cast("n", pa.string()), input__filter="n > 1"),
        "b.parquet: filter: ",
    ),
    Fails("a page header of noise", second_file(_noise(4, 40)), "b.parquet: row group 0 cannot be read"),
    Fails("a page header that lies of its size", second_file(_lies), "b.parquet: row group 0 cannot be read"),
    Fails(
        "a column damaged in its middle",
        second_file(_noise(60, 200), compression="zstd"),
        "b.parquet: row group 0 cannot be read",
    ),
    Harmless("a directory named x.parquet", lambda bench: (bench.corpus / "x.parquet").mkdir()),
    Harmless("a FIFO beside the data", _fifo),
    Harmless("links in the corpus that lead back into it", _loop),
    Harmless(
        "files that other programs leave: _SUCCESS, .crc, _metadata",
        both(holds("_SUCCESS", b""), holds(".a.parquet.crc", b"crc\0"), holds("_metadata", b"PAR1")),
    ),
    Harmless("one file named twice", lambda bench: bench.set("input.path", [f"{bench.corpus}/a.parquet"] * 2)),
    Harmless(
        "a file name of glob characters, quotes and line breaks",
        lambda bench: (bench.corpus / "a.parquet").rename(bench.corpus / "[a-z]*'\"\n é🙂.parquet") and None,
    ),
    Harmless("columns in another order", drift(lambda table: table.select(["n", "lang", "text", "id"])), PLAIN),
    Harmless(
        "columns that the job does not name",
        drift(lambda table: table.append_column("x", pa.array([{"a": [1]}, None]))),
        PLAIN,
    ),
    Harmless("an unnamed column that one file lacks", drift(lambda table: table.drop(["n"])), PLAIN),
    Harmless("large strings in one file", drift(cast("text", pa.large_string())), PLAIN),
    Harmless("string views in one file", drift(cast("text", pa.string_view())), PLAIN),
    Harmless(
        "dictionary-encoded texts in one file", drift(cast("text", pa.dictionary(pa.int32(), pa.string()))), PLAIN
    ),
    Harmless(
        "dictionary-encoded languages in one file", drift(cast("lang", pa.dictionary(pa.int8(), pa.string()))), PLAIN
    ),
    Harmless(
        "a filtered column of fewer bits in one file",
        drift(cast("n", pa.int32()), input__filter="n > 1"),
        drift(lambda table: table, input__filter="n > 1"),
    ),
    Harmless("a file without rows", drift(lambda table: table.slice(0, 0)), lambda bench: bench.write(GOOD) and None),
    Harmless("row groups of one row", lambda bench: bench.write(GOOD, row_group_size=1) and None),
    Harmless("another compression", lambda bench: bench.write(GOOD, compression="brotli") and None),
    Harmless(
        "column names of quotes, emoji and line breaks",
        both(
            settings(input__text='te"xt\n', input__lang="🙂'"),
            lambda bench: bench.write(GOOD.rename_columns(["id", 'te"xt\n', "🙂'"])) and None,
        ),
    ),
]
