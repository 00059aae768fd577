"""Corpora that cannot be read, and corpora of which the files disagree."""

import os

import pyarrow as pa

from tests.chaos.bad_input.bad_job_files import set_value, set_values
from tests.chaos.bad_input.corpus_changes import (
    TWO_FILES,
    add_changed_file,
    add_damaged_file,
    add_fifo,
    add_file,
    add_file_of_type,
    apply_all,
    cast_column,
    change_bytes,
    change_footer,
    enlarge_first_page,
    link_to_corpus,
    overwrite,
    repeat_id,
    replace_column,
    select_file,
    use_empty_directory,
)
from tests.chaos.bad_input.outcomes import FailsShard, Harmless, Refused
from tests.chaos.bad_input.trial_job import GOOD_ROWS

CORPORA: list[Refused | Harmless | FailsShard] = [
    Refused("a missing corpus", select_file("gone.parquet"), "no such file or directory; correct input.path"),
    Refused("a glob that matches nothing", select_file("*.pq"), "no file matches; correct input.path"),
    Refused("an empty directory", use_empty_directory, "the directory contains no data files; correct input.path"),
    Refused("a URL with an unknown scheme", set_value("input.path", "nope://x/y"), "nope:// is not supported"),
    Refused("a URL without a scheme", set_value("input.path", "://x"), "no such file or directory"),
    Refused(
        "a link to itself in the corpus",
        lambda job: (job.corpus / "b.parquet").symlink_to("b.parquet"),
        "b.parquet",
    ),
    Refused(
        "a file name that is not UTF-8",
        lambda job: (job.corpus / "a.parquet").rename(job.corpus / os.fsdecode(b"caf\xe9.parquet")) and None,
        "\\udce9",
    ),
    Refused(
        "CSV instead of Parquet", add_file("a.parquet", b"id,text,lang\n1,hello,en\n"), "not a Parquet file (24 bytes)"
    ),
    Refused("a text file among the data files", add_file("README.md", b"# The corpus, as of May"), "not a Parquet"),
    Refused("a file of zero bytes", add_file("b.parquet", b""), "b.parquet: not a Parquet file (0 bytes)"),
    Refused("a file of null bytes", add_file("b.parquet", bytes(4096)), "b.parquet: not a Parquet file (4,096 bytes)"),
    Refused("the first four bytes of Parquet", change_bytes(lambda data: data[:4]), "not a Parquet file (4 bytes)"),
    Refused(
        "Parquet without the end of its footer", change_bytes(lambda data: data[:-9]), "a damaged or truncated Parquet"
    ),
    Refused(
        "Parquet truncated in the data", change_bytes(lambda data: data[:200]), "a damaged or truncated Parquet file"
    ),
    Refused(
        "Parquet without its last byte", change_bytes(lambda data: data[:-1]), "a damaged or truncated Parquet file"
    ),
    Refused("Parquet without its first bytes", change_bytes(lambda data: data[9:]), "not a Parquet file"),
    Refused("an encrypted footer", change_bytes(lambda data: data[:-4] + b"PARE"), "a.parquet: is encrypted"),
    Refused("an encrypted file", change_bytes(lambda data: b"PARE" + data[4:-4] + b"PARE"), "a.parquet: is encrypted"),
    Refused(
        "a footer longer than the file",
        change_bytes(lambda data: data[:-8] + b"\xff\xff\xff\x7fPAR1"),
        "a damaged or truncated Parquet file",
    ),
    Refused(
        "a footer with negative length",
        change_bytes(lambda data: data[:-8] + b"\xff\xff\xff\xffPAR1"),
        "a damaged or truncated Parquet file",
    ),
    Refused(
        "a footer of random bytes",
        change_bytes(lambda data: change_footer(data, lambda old: bytes(len(old)))),
        "a damaged or trun",
    ),
    Refused(
        "a truncated footer",
        change_bytes(lambda data: change_footer(data, lambda old: old[:50])),
        "a damaged or truncated",
    ),
    Refused(
        "three bad files out of four",
        apply_all(*(add_file(f"{i}.parquet", b"PAR1 and then nothing") for i in range(3))),
        "2.parquet: a damaged or truncated",
    ),
    Refused(
        "a corpus without rows", lambda job: job.write(GOOD_ROWS.slice(0, 0)) and None, "no rows; correct input.path"
    ),
    Refused("a FIFO as the corpus", apply_all(add_fifo, select_file("b.parquet")), "b.parquet"),
    Refused("a missing column", set_value("input.text", "txt"), "no column txt; did you mean text?"),
    Refused("a column name unlike any other", set_value("input.keep", ["zzz"]), "no column zzz; it has id, text, lang"),
    Refused(
        "a column that occurs twice",
        lambda job: (
            job.write(
                pa.Table.from_arrays([*GOOD_ROWS.columns, GOOD_ROWS["text"]], names=["id", "text", "lang", "text"])
            )
            and None
        ),
        "has 2 columns text; give each column its own name",
    ),
    Refused("numbers as texts", replace_column("text", pa.array([1, 2])), "input.text text is int64; expected text"),
    Refused(
        "bytes as texts", replace_column("text", pa.array([b"a", b"b"])), "input.text text is binary; expected text"
    ),
    Refused(
        "a text column of type null", replace_column("text", pa.nulls(2)), "input.text text is null; expected text"
    ),
    Refused(
        "lists of numbers as texts",
        replace_column("text", pa.array([[1], [2]])),
        "input.text text is list<element: int64>",
    ),
    Refused(
        "lists of lists as texts",
        replace_column("text", pa.array([[["a"]], [["b"]]])),
        "expected text, or lists of text",
    ),
    Refused(
        "structs as texts",
        replace_column("text", pa.array([{"a": "b"}, None])),
        "input.text text is struct<a: string>",
    ),
    Refused(
        "numbers as languages", replace_column("lang", pa.array([1, 2])), "input.lang lang is int64; expected text"
    ),
    Refused("lists as languages", replace_column("lang", pa.array([["en"], ["de"]])), "input.lang lang is list<"),
    Refused(
        "fractions as ids", replace_column("id", pa.array([0.5, 1.5])), "input.id id is double; expected text, whole"
    ),
    Refused("lists as ids", replace_column("id", pa.array([["a"], ["b"]])), "expected text, whole numbers or UUIDs"),
    Refused("repeated ids", repeat_id, "row 2 has that of"),
    Refused(
        "a kept column of another type in one file",
        add_file_of_type("n", pa.string(), [1, 2], keep=True),
        "b.parquet: column n is string, but int64 in",
    ),
    Refused(
        "a kept column with fewer bits in one file",
        add_file_of_type("n", pa.int32(), [1, 2], keep=True),
        "b.parquet: column n is int32, but int64 in",
    ),
    Refused(
        "ids that are numbers in one file and texts in another",
        add_file_of_type("id", pa.int64(), [1, 2]),
        "b.parquet: column id is int64, but string in",
    ),
    Refused(
        "texts as bytes in one file",
        add_file_of_type("text", pa.binary(), ["x", "y"]),
        "b.parquet: input.text text is binary",
    ),
    Refused(
        "texts as words in one file",
        lambda job: (
            job.write(GOOD_ROWS.set_column(1, "text", pa.array([["Good", "day"], ["Guten", "Tag"]])), "b.parquet")
            and None
        ),
        "b.parquet: column text is list<element: string>, but string in",
    ),
    Refused(
        "a column that is missing in one file",
        add_changed_file(lambda table: table.drop(["lang"])),
        "b.parquet: no column lang",
    ),
    Refused(
        "a kept column that is missing in one file",
        add_changed_file(lambda table: table.drop(["n"]), input__keep=["n"]),
        "b.parquet: no column n",
    ),
    Refused(
        "a kept column that only the last file has",
        lambda job: (
            job.set("input.keep", ["n"])
            or (job.write(GOOD_ROWS.append_column("n", pa.array([3, 4])), "z.parquet") and None)
        ),
        "no column n; it has id, text, lang",
    ),
    Refused(
        "a filtered column that is missing in one file",
        add_changed_file(lambda table: table.drop(["n"]), input__filter="n > 1"),
        "b.parquet: no column n",
    ),
    Refused(
        "a filtered column of another type in one file",
        add_changed_file(cast_column("n", pa.string()), input__filter="n > 1"),
        "b.parquet: filter: ",
    ),
    FailsShard(
        "a page header of random bytes", add_damaged_file(overwrite(4, 40)), "b.parquet: row group 0 cannot be read"
    ),
    FailsShard(
        "a page header with a wrong size",
        add_damaged_file(enlarge_first_page),
        "b.parquet: row group 0 cannot be read",
    ),
    FailsShard(
        "a column damaged in the middle",
        add_damaged_file(overwrite(60, 200), compression="zstd"),
        "b.parquet: row group 0 cannot be read",
    ),
    Harmless("a directory named x.parquet", lambda job: (job.corpus / "x.parquet").mkdir()),
    Harmless("a FIFO among the data files", add_fifo),
    Harmless("links in the corpus that point back to it", link_to_corpus),
    Harmless(
        "files of other programs: _SUCCESS, .crc, _metadata",
        apply_all(add_file("_SUCCESS", b""), add_file(".a.parquet.crc", b"crc\0"), add_file("_metadata", b"PAR1")),
    ),
    Harmless("a file given twice", lambda job: job.set("input.path", [f"{job.corpus}/a.parquet"] * 2)),
    Harmless(
        "a file name with glob characters, quotes and line breaks",
        lambda job: (job.corpus / "a.parquet").rename(job.corpus / "[a-z]*'\"\n é🙂.parquet") and None,
    ),
    Harmless(
        "columns in another order", add_changed_file(lambda table: table.select(["n", "lang", "text", "id"])), TWO_FILES
    ),
    Harmless(
        "columns that the job does not use",
        add_changed_file(lambda table: table.append_column("x", pa.array([{"a": [1]}, None]))),
        TWO_FILES,
    ),
    Harmless(
        "an unused column that is missing in one file", add_changed_file(lambda table: table.drop(["n"])), TWO_FILES
    ),
    Harmless("large strings in one file", add_changed_file(cast_column("text", pa.large_string())), TWO_FILES),
    Harmless("string views in one file", add_changed_file(cast_column("text", pa.string_view())), TWO_FILES),
    Harmless(
        "dictionary-encoded texts in one file",
        add_changed_file(cast_column("text", pa.dictionary(pa.int32(), pa.string()))),
        TWO_FILES,
    ),
    Harmless(
        "dictionary-encoded languages in one file",
        add_changed_file(cast_column("lang", pa.dictionary(pa.int8(), pa.string()))),
        TWO_FILES,
    ),
    Harmless(
        "a filtered column with fewer bits in one file",
        add_changed_file(cast_column("n", pa.int32()), input__filter="n > 1"),
        add_changed_file(lambda table: table, input__filter="n > 1"),
    ),
    Harmless(
        "a file without rows",
        add_changed_file(lambda table: table.slice(0, 0)),
        lambda job: job.write(GOOD_ROWS) and None,
    ),
    Harmless("row groups with one row", lambda job: job.write(GOOD_ROWS, row_group_size=1) and None),
    Harmless("another compression", lambda job: job.write(GOOD_ROWS, compression="brotli") and None),
    Harmless(
        "column names with quotes, emoji and line breaks",
        apply_all(
            set_values(input__text='te"xt\n', input__lang="🙂'"),
            lambda job: job.write(GOOD_ROWS.rename_columns(["id", 'te"xt\n', "🙂'"])) and None,
        ),
    ),
]
