"""Verification reports every kind of fault, each injected alone into an otherwise correct output."""

import random
import re
import shutil
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.pipelines.verify.output_copy import (
    Change,
    OutputCopy,
    Row,
    change_values,
    drop_row,
    flip_bit,
    format_problems,
    repeat_last_row,
    replace_quote,
    set_value,
    shift_span,
    swap_rows,
    truncate,
)

NAN, INF = float("nan"), float("inf")

Fault = tuple[Callable[[OutputCopy], object], str]
"""A change to an output, and a pattern of the problem that must be reported."""


def part(change: Change, expected: str, number: int = 0, **recorded: Any) -> Fault:
    return lambda out: out.rewrite(out.part(number), change, **recorded), expected


def value(column: str, *path: Any, expected: str) -> Fault:
    return part(change_values(column, set_value(*path)), f"part-.*: column {column}: {expected}")


def rejects(change: Change, expected: str, **recorded: Any) -> Fault:
    return lambda out: out.rewrite(out.rejected(0), change, **recorded), f"rejected/part-.*: {expected}"


def record(expected: str, **changes: Any) -> Fault:
    return lambda out: out.change_record(out.records[0].part, **changes), expected


def plan(change: Callable[[list[Row]], list[Row]], expected: str) -> Fault:
    return lambda out: out.edit_plan(change), f"plan.parquet: {expected}"


def job(change: Callable[[Row], object], expected: str) -> Fault:
    return lambda out: out.edit_json("job.json", change), f"job.json: {expected}"


def change_label_metadata(rows: pa.Table) -> pa.Table:
    number = rows.schema.get_field_index("label")
    return rows.cast(rows.schema.set(number, rows.schema.field(number).with_metadata({"labels": "[]"})))


# Faults of `texts`. Where the ledger is changed to fit, only a comparison with something else can find the fault.
FAULTS: dict[str, Fault] = {
    "a byte": (lambda out: flip_bit(out.part(0), 40), "part-.*: (changed|damaged).*; got .* SHA-256"),
    "a byte of the footer": (lambda out: flip_bit(out.part(0), -40), "part-.*: (changed|damaged).*; got .* SHA-256"),
    "truncated": (lambda out: truncate(out.part(1), -7), "part-.*: damaged, and cannot be read; got .* expected"),
    "empty": (
        lambda out: truncate(out.part(1), 0),
        "part-.*: damaged.*; got 0 bytes with SHA-256 .*, expected [0-9,]+ with",
    ),
    "missing": (
        lambda out: out.part(1).unlink(),
        "part-.*: missing, although the ledger has it; run the job again to compute",
    ),
    "another part's bytes": (
        lambda out: shutil.copy(out.part(0), out.part(1)),
        "its rows, or their order, do not match the digest of row ids",
    ),
    "a foreign file": (
        lambda out: shutil.copy(out.part(0), out.path / "data" / "more.parquet"),
        "data/more.parquet: not recorded",
    ),
    "files in a folder": (
        lambda out: shutil.copytree(out.rejected(0).parent, out.path / "data" / "old"),
        "old/p.*: not recorded",
    ),
    "row dropped": part(drop_row(2), "its rows are not .*: 1 row missing, 0 surplus, from row 2 of the part"),
    "row dropped and not counted": part(drop_row(0), "has 5 rows of this shard, but the ledger has 4", rows_in=4),
    "row repeated": part(repeat_last_row, "0 rows missing, 1 surplus, from row 4"),
    "rows swapped": part(swap_rows, "their order differs, from row 0"),
    "another row": part(change_values("id", set_value(1, "x")), "1 row missing, 1 surplus, from row 1"),
    "all rows dropped": part(lambda rows: rows.slice(0, 0), "4 rows missing, 0 surplus"),
    "column dropped": part(lambda rows: rows.drop(["score"]), "columns differ from job.json: score missing"),
    "column added": part(lambda rows: rows.append_column("y", rows["score"]), r"job.json: y float \(expected none\)"),
    "columns moved": part(lambda rows: rows.select(rows.schema.names[::-1]), "columns differ .* in the order"),
    "type": part(lambda rows: rows.set_column(1, "lang", rows["lang"].cast("large_string")), "lang large_string"),
    "metadata": part(
        lambda rows: rows.replace_schema_metadata({**rows.schema.metadata, b"xlm:fingerprint": b"0"}),
        r"metadata differs from job.json: xlm:fingerprint 0 \(expected",
    ),
    "no metadata": part(lambda rows: rows.replace_schema_metadata({}), "job.json: xlm:fingerprint missing"),
    "metadata of a column": part(
        change_label_metadata, "part-.*01-.*: the metadata of its columns differs from that of part-.*00-", 2
    ),
    "not a number": value("embedding", 0, 3, NAN, expected="1 row with numbers that are not finite, .* row 0"),
    "infinity in a window": value("w_embeddings", 1, 0, 3, INF, expected="1 row with numbers .* row 1"),
    "norm": value("embedding", 1, 0, 0.5, expected="1 row with a norm that differs from 1 by up to 0.*, .* row 1"),
    "norm of a window": value("w_embeddings", 1, 0, 0, 0.5, expected="1 row with a norm that differs from 1 .* row 1"),
    "no direction": value("embedding", 0, [0.0] * 64, expected="1 row with a norm that differs from 1 by up to 1"),
    "score": value("score", 2, NAN, expected="1 row with numbers that are not finite, .* row 2"),
    "one of the scores": value("scores", 2, 1, -INF, expected="1 row with numbers"),
    "score of a word": value("words", 2, 0, "score", NAN, expected="1 row with numbers"),
    "likelihood": value("log_likelihood", 0, NAN, expected="1 row with numbers"),
    "perplexity": value("perplexity", 0, 1.0, expected="1 row with a value that does not follow"),
    "word shifted": part(change_values("words", shift_span), "column words: 1 row with spans that do not quote"),
    "entity shifted": part(change_values("entities", shift_span), "column entities: 1 row with spans"),
    "word of another text": part(change_values("words", replace_quote), "column words: 1 row with spans"),
    "offsets before the text": part(
        change_values("words", lambda values: values[0][0].update(start=-1, end=-1, text="")),
        "words: 1 row with spans",
    ),
    "rejected row dropped": rejects(lambda rows: rows.slice(0, 0), "has no rows, expected 1 empty_text"),
    "rejected row repeated": rejects(repeat_last_row, "has 1 row more than once"),
    "rejected row that was written": (
        lambda out: out.rewrite(out.rejected(0), change_values("row", set_value(0, 1))),
        "1 row missing, 1 surplus",
    ),
    "rejected row of another shard": rejects(change_values("row", set_value(0, 900)), "has 1 row outside of its shard"),
    "rejected row that was filtered": rejects(
        change_values("row", set_value(0, 3)), "has 1 row that input.filter drops"
    ),
    "reason": rejects(change_values("reason", set_value(0, "whim")), "has 1 whim, expected 1 empty_text"),
    "no reason": rejects(change_values("reason", set_value(0, "")), "has rows without a reason", reasons={"": 1}),
    "column of rejected rows": rejects(
        lambda rows: rows.drop(["detail"]), "has columns file, row, id, reason, lang, expected"
    ),
    "rejected rows missing": (lambda out: out.rejected(0).unlink(), "rejected/part.*: missing, although"),
    "a byte of rejected rows": (lambda out: flip_bit(out.rejected(0), 40), "rejected/part.*: (changed|damaged)"),
    "rejected rows of a shard without": (
        lambda out: shutil.copy(out.rejected(0), out.rejected(1)),
        "rejected/p.*: not recorded",
    ),
    "record dropped": (
        lambda out: out.output.ledger.replace(out.records[1:]),
        "_SUCCESS: marks the output as complete, but 1 of 6 shards missing from the ledger",
    ),
    "record's sum": record("its record has 99 rows in, but 4 out and 1 rejected", rows_in=99),
    "record's count": record("has 4 rows, expected 3 as in the ledger", rows_out=3),
    "record's file": record("its record has file /etc/passwd, expected .* as in the plan", file="/etc/passwd"),
    "record's rows read": record("its record has rows_read 99, expected 8 as in the plan", rows_read=99),
    "record's segmenters": record(
        "its record has other segmenters than job.json: ja fugashi 1 \\(expected kytea", segmenters={"ja": "fugashi 1"}
    ),
    "record's digest of ids": record("its rows, or their order, do not match the digest", ids_digest="00"),
    "plan truncated": plan(lambda rows: rows[:-1], "leaves out row group 1 of .*1.parquet, which has rows"),
    "plan truncated, though recorded": (
        lambda out: out.edit_plan(lambda rows: rows[:-1]),
        "recorded .*, but not planned",
    ),
    "plan with a gap": plan(
        lambda rows: [rows[0], *rows[2:]], "has 14 rows in 2 row groups of .*0.parquet, expected 22"
    ),
    "plan with a shard twice": plan(lambda rows: [*rows, rows[0]], "1 shard with a wrong or repeated id"),
    "plan that leaves the output": plan(
        lambda rows: [rows[0] | {"shard": "../x"}, *rows[1:]], "1 shard with a wrong or repeated id"
    ),
    "plan of another file": plan(
        lambda rows: [row | {"members": [m | {"file": "/x"} for m in row["members"]]} for row in rows],
        "6 shards with a wrong or repeated id",
    ),
    "fingerprint": job(
        lambda job: job["fingerprint"].update(format=0), "its fingerprint has the digest .*, but its metadata"
    ),
    "settings": job(
        lambda job: job["spec"]["input"].update(filter=None), "its settings differ from its fingerprint: input"
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_is_reported(texts, fault):
    inject, expected = FAULTS[fault]
    inject(texts)
    verdict = texts.verify()
    problems = format_problems(verdict)
    assert re.search(expected, problems), problems or "no problem was found"
    assert not verdict.verified
    for problem in verdict.problems:
        assert "\n" not in str(problem)
        assert problem.url.startswith(str(texts.path))


def test_infinite_vector_is_not_also_a_wrong_norm(texts):
    FAULTS["infinity in a window"][0](texts)
    assert "norm" not in format_problems(texts.verify())


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (change_values("file", set_value(1, "/x")), "has rows outside of its shard, .*0.parquet rows 0 to"),
        (change_values("row", set_value(1, 5)), "1 row missing, 1 surplus, from row 1"),
        (change_values("answers", shift_span), "column answers: 1 row with spans that do not quote the text"),
        (change_values("words", replace_quote), "column words: 1 row with spans that do not quote the text"),
        (change_values("no_answer_score", set_value(0, NAN)), "column no_answer_score: 1 row with numbers"),
        (swap_rows, "their order differs, from row 0"),
    ],
)
def test_faults_in_rows_without_ids_are_reported(pairs, fault, expected):
    """Rows are identified by their numbers. Answers quote the second text, words the first, which is a word list."""
    pairs.rewrite(pairs.part(0), fault)
    assert re.search(expected, pairs.problems())


@pytest.mark.long
def test_any_flipped_bit_of_a_part_is_reported(texts):
    """In its data, between its pages, and in its footer, which no checksum covers."""
    path, choose = texts.part(2), random.Random(11)
    data = path.read_bytes()
    for position in [*choose.sample(range(len(data)), 25), *choose.sample(range(len(data) - 4000, len(data)), 25)]:
        flip_bit(path, position)
        found = texts.verify()
        assert [problem.url for problem in found.problems] == [str(path)] * len(found.problems), position
        assert found.problems, position
        path.write_bytes(data)
    assert texts.verify().verified


def test_page_checksums_let_any_reader_detect_damage(texts):
    path = texts.part(0)
    column = pq.ParquetFile(path).metadata.row_group(0).column(0)
    flip_bit(path, column.data_page_offset + column.total_compressed_size - 5)
    with pytest.raises(OSError, match="CRC"):
        pq.read_table(path, page_checksum_verification=True)


def test_repeated_ids_across_parts_are_reported(texts):
    """Even if the record fits, so that only the comparison of all ids finds them."""
    taken = pq.read_table(texts.part(0), columns=["id"])["id"][1].as_py()
    verified_before = texts.verify().verified
    texts.rewrite(texts.part(3), change_values("id", set_value(0, taken)))
    assert verified_before
    assert re.search(
        "-00000-000000000.parquet: 1 row with the id of an earlier row: row 0 has that of row 1", texts.problems()
    )
    texts.edit_json("job.json", lambda job: job["spec"]["policy"].update(duplicate_ids="ignore"))
    assert "the id of an earlier row" not in texts.problems()
