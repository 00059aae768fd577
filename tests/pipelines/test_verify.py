"""`verify` proves a sound output, and names whatever else is done to one: a fault for each promise, one at a time.

The outputs are real: every task that has something to check, written by the stages themselves.
"""

import base64
import json
import random
import re
import shutil
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from jobs.commands.verify import verify_output
from pipelines.errors import FatalError
from pipelines.job.job import Job
from pipelines.output.directory import Output
from pipelines.run.prepare import prepare
from pipelines.stages.write import digest_ids, part_bytes, sha256
from pipelines.storage import locate
from pipelines.verify import Verdict, verify
from tests.flow.heads import write_checkpoints
from tests.flow.in_process import run_to_records

Row = dict[str, Any]


class Copy:
    """An output that may be broken, and the input that it was made from."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.path = folder / "out"
        self.output = Output(locate(str(self.path)))
        self.records: list[Row] = self.output.ledger.history()

    def verify(self) -> Verdict:
        return verify(self.output)

    def part(self, number: int) -> Path:
        return self.path / self.records[number]["part"]

    def rejected(self, number: int) -> Path:
        return self.path / "_xlm" / "rejected" / self.records[number]["part"]

    def rewrite(self, path: Path, change: Callable[[pa.Table], pa.Table], **recorded: Any) -> None:
        """Write a file anew as the write stage would, and record it; but for that it is the change alone that is wrong.

        Args:
            path: of a part, or of rejected rows.
            change: what becomes of its rows, which it gets with the schema that was declared.
            recorded: what else the record says then.
        """
        file = pq.ParquetFile(path)
        declared = pa.ipc.read_schema(pa.BufferReader(base64.b64decode(file.metadata.metadata[b"ARROW:schema"])))
        rows = change(file.read().cast(declared))
        data = part_bytes(rows)
        path.write_bytes(data)
        if path.parent.name == "rejected":
            fitting: Row = {"rejected_bytes": data.size, "rejected_digest": sha256(data)}
        else:
            ids = rows["id" if "id" in rows.schema.names else "row"].combine_chunks()
            fitting = {"bytes": data.size, "digest": sha256(data), "rows_out": len(rows), "ids_digest": digest_ids(ids)}
        self.record(path.name, **fitting | recorded)

    def record(self, part: str, **changes: Any) -> None:
        """Change what the ledger says of a part."""
        self.records = [record | (changes if record["part"] == part else {}) for record in self.records]
        self.output.ledger.replace(self.records)

    def edit(self, name: str, change: Callable[[dict[str, Any]], object]) -> None:
        """Change a JSON file below `_xlm`."""
        path = self.path / "_xlm" / name
        content = json.loads(path.read_text(encoding="utf-8"))
        change(content)
        path.write_text(json.dumps(content), encoding="utf-8")

    def edit_plan(self, change: Callable[[list[Row]], list[Row]]) -> None:
        path = self.path / "_xlm" / "plan.parquet"
        plan = pq.read_table(path)
        pq.write_table(pa.Table.from_pylist(change(plan.to_pylist()), plan.schema), path)


@pytest.fixture(scope="module")
def outputs(demo: Path, corpus: list[Row], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two finished outputs of several shards: of texts with an id and a filter, and of pairs with neither."""
    heads = tmp_path_factory.mktemp("heads")
    write_checkpoints(demo, heads)
    rows = [row for row in corpus if row["lang"] != "ja"][::7][:44]
    texts = [row | {"year": 2000 + i % 3} for i, row in enumerate(rows)]
    for number, text in ((3, None), (4, ""), (20, None)):
        texts[number]["text"] = text
    texts[35]["id"] = texts[34]["id"]
    pairs = [{"lang": r["lang"], "question": r["text"].split()[:4], "context": f"{r['text']} " * 3} for r in rows[:12]]
    pairs[5]["context"] = None
    tag, head = str(heads / "heads" / "tags"), str(heads / "heads" / "topic")
    specs: dict[str, Row] = {
        "texts": {
            "input": {"id": "id", "text": "text", "lang": "lang", "filter": "year > 2000", "keep": ["lang"]},
            "tasks": [
                "feature-extraction",
                {"feature-extraction": {"name": "w", "windows": "each", "dtype": "float16"}},
                {"token-classification": {"head": tag}},
                {"token-classification": {"head": tag, "aggregate": "entity"}},
                {"text-classification": {"head": head, "scores": True}},
                "lm-scoring",
            ],
        },
        "pairs": {
            "input": {"text": ["question", "context"], "lang": "lang"},
            "tasks": [
                {"question-answering": {"head": str(heads / "heads" / "spans"), "top_k": 3}},
                {"token-classification": {"head": tag}},
                {"feature-extraction": {"normalize": False, "truncate_dim": 8}},
            ],
        },
    }
    made: dict[str, Path] = {}
    for (name, spec), table in zip(specs.items(), (texts, pairs), strict=True):
        folder = tmp_path_factory.mktemp(name)
        (folder / "in").mkdir()
        half = len(table) // 2
        for number, some in enumerate((table[:half], table[half:])):
            pq.write_table(pa.Table.from_pylist(some), folder / "in" / f"{number}.parquet", row_group_size=16)
        spec["input"]["path"] = str(folder / "in")
        spec |= {
            "model": {"checkpoint": str(heads / "lm")},
            "tokenizer": {"max_length": 24, "on_overflow": "window", "overlap_tokens": 4},
            "output": {"path": str(folder / "out"), "rows_per_shard": 8},
            "policy": {"duplicate_ids": "reject"},
        }
        write_whole(Job.model_validate(spec))
        made[name] = folder
    return made


def write_whole(job: Job) -> None:
    """Do what a run does, in this process."""
    output, prepared = Output(locate(job.output.path)), prepare(job)
    output.begin(prepared.description, prepared.plan.shards)
    records = run_to_records(job)
    output.ledger.append(records[:2])
    output.ledger.append(records[2:])
    output.finish({}, "", success=True)


@pytest.fixture
def texts(outputs, tmp_path) -> Copy:
    return copied(outputs["texts"], tmp_path / "copy")


@pytest.fixture
def pairs(outputs, tmp_path) -> Copy:
    return copied(outputs["pairs"], tmp_path / "copy")


def copied(folder: Path, to: Path) -> Copy:
    """Copy an output; the input stays where the plan has it."""
    shutil.copytree(folder / "out", to / "out")
    return Copy(to)


def told(verdict: Verdict) -> str:
    return "\n".join(map(str, verdict.problems))


@pytest.mark.parametrize("name", ["texts", "pairs"])
def test_a_sound_output_is_verified(outputs, name):
    found = Copy(outputs[name])
    verdict, seen = found.verify(), list[tuple[int, int]]()
    assert (told(verdict), verdict.notes, verdict.verified) == ("", [], True)
    rows = pa.concat_tables(pq.read_table(found.part(i)) for i in range(len(found.records)))
    spans = sum(len(value) for n in ("words", "entities", "answers") if n in rows.schema.names for value in rows[n])
    vectors = len(rows) + (sum(map(len, rows["w_embeddings"])) if name == "texts" else 0)
    counts = verdict.counts
    assert (verdict.planned, verdict.done) == (len(found.records), len(found.records)) != (0, 0)
    assert (counts["rows_out"], counts["vectors"], counts["spans"]) == (len(rows), vectors, spans)
    assert counts["rows_rejected"] == sum(record["rows_rejected"] for record in found.records) > 0
    verify(found.output, lambda done, total: seen.append((done, total)))
    assert seen == sorted(seen)
    assert seen[0][0] == 0
    assert seen[-1][0] == seen[-1][1] > len(rows)  # the filter's rows are gone through, too


def cut(path: Path, length: int) -> None:
    path.write_bytes(path.read_bytes()[:length])


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def without(row: int) -> Callable[[pa.Table], pa.Table]:
    return lambda rows: rows.take([i for i in range(len(rows)) if i != row])


def swapped(rows: pa.Table) -> pa.Table:
    return rows.take([1, 0, *range(2, len(rows))])


def doubled(rows: pa.Table) -> pa.Table:
    return rows.take([*range(len(rows)), len(rows) - 1])


def with_values(column: str, change: Callable[[list[Any]], object]) -> Callable[[pa.Table], pa.Table]:
    """Change the values of a column, as Python's."""

    def rewritten(rows: pa.Table) -> pa.Table:
        values = rows[column].to_pylist()
        change(values)
        number, kind = rows.schema.get_field_index(column), rows.schema.field(column)
        return rows.set_column(number, kind, pa.array(values, kind.type))

    return rewritten


def first_of(values: list[list[Row]]) -> Row:
    return next(value for value in values if value)[0]


def shift(values: list[list[Row]]) -> None:
    span = first_of(values)
    span |= {"start": span["start"] + 1, "end": span["end"] + 1}


def requote(values: list[list[Row]]) -> None:
    """Let a span quote itself, but not the text."""
    span = first_of(values)
    span["text"] = "\u2603" * len(span["text"])


def set_first(*path: Any) -> Callable[[list[Any]], None]:
    """Set what lies at a path within the first row that has values: `set_first(0, 3, nan)`."""
    *places, value = path

    def change(values: list[Any]) -> None:
        inner: Any = values
        for place in places[:-1]:
            inner = inner[place]
        inner[places[-1]] = value

    return change


NAN, INF = float("nan"), float("inf")

Fault = tuple[Callable[[Copy], object], str]


def part(change: Callable[[pa.Table], pa.Table], expected: str, number: int = 0, **recorded: Any) -> Fault:
    return lambda out: out.rewrite(out.part(number), change, **recorded), expected


def value(column: str, *path: Any, expected: str) -> Fault:
    return part(with_values(column, set_first(*path)), f"part-.*: column {column}: {expected}")


def rejects(change: Callable[[pa.Table], pa.Table], expected: str, **recorded: Any) -> Fault:
    return lambda out: out.rewrite(out.rejected(0), change, **recorded), f"rejected/part-.*: {expected}"


def record(expected: str, **changes: Any) -> Fault:
    return lambda out: out.record(out.records[0]["part"], **changes), expected


def plan(change: Callable[[list[Row]], list[Row]], expected: str) -> Fault:
    return lambda out: out.edit_plan(change), f"plan.parquet: {expected}"


def job(change: Callable[[Row], object], expected: str) -> Fault:
    return lambda out: out.edit("job.json", change), f"job.json: {expected}"


def relabelled(rows: pa.Table) -> pa.Table:
    number = rows.schema.get_field_index("label")
    return rows.cast(rows.schema.set(number, rows.schema.field(number).with_metadata({"labels": "[]"})))


# What is done to an output of texts, and what must be said of it. Where the ledger is made to fit, only what it is held
# against can tell.
FAULTS: dict[str, Fault] = {
    "a byte": (lambda out: flip(out.part(0), 40), "part-.*: (changed|damaged): .* SHA-256"),
    "a byte of the footer": (lambda out: flip(out.part(0), -40), "part-.*: (changed|damaged): .* SHA-256"),
    "cut": (lambda out: cut(out.part(1), -7), "part-.*: damaged: it cannot be read, and is .* expected"),
    "empty": (lambda out: cut(out.part(1), 0), "part-.*: damaged: .* 0 bytes with SHA-256 .*, expected [0-9,]+ with"),
    "gone": (lambda out: out.part(1).unlink(), "part-.*: gone, though the ledger has it"),
    "another part's bytes": (lambda out: shutil.copy(out.part(0), out.part(1)), "its rows, or their order, are not"),
    "a foreign file": (lambda out: shutil.copy(out.part(0), out.path / "more.parquet"), "more.parquet: not recorded"),
    "files in a folder": (lambda out: shutil.copytree(out.rejected(0).parent, out.path / "old"), "old/p.*: not rec"),
    "row dropped": part(without(2), "its rows are not .*: 1 row lacking, 0 too many, from row 2 of the part"),
    "row dropped and not counted": part(without(0), "has 5 rows for it, but 4 in the ledger", rows_in=4),
    "row doubled": part(doubled, "0 rows lacking, 1 too many, from row 4"),
    "rows swapped": part(swapped, "their order is another from row 0"),
    "another row": part(with_values("id", set_first(1, "x")), "1 row lacking, 1 too many, from row 1"),
    "all rows gone": part(lambda rows: rows.slice(0, 0), "4 rows lacking, 0 too many"),
    "column lost": part(lambda rows: rows.drop(["score"]), "columns score missing .*, unlike job.json"),
    "column added": part(lambda rows: rows.append_column("y", rows["score"]), r"columns y float \(expected none\)"),
    "columns moved": part(lambda rows: rows.select(rows.schema.names[::-1]), "columns in the order"),
    "type": part(lambda rows: rows.set_column(1, "lang", rows["lang"].cast("large_string")), "lang large_string"),
    "metadata": part(
        lambda rows: rows.replace_schema_metadata({**rows.schema.metadata, b"xlm:fingerprint": b"0"}),
        r"metadata xlm:fingerprint 0 \(expected",
    ),
    "no metadata": part(lambda rows: rows.replace_schema_metadata({}), "metadata xlm:fingerprint missing"),
    "metadata of a column": part(relabelled, "part-.*01-.*: tells other things of its columns than part-.*00-", 2),
    "not a number": value("embedding", 0, 3, NAN, expected="1 row with numbers that are not finite, .* row 0"),
    "infinity in a window": value("w_embeddings", 1, 0, 3, INF, expected="1 row with numbers .* row 1"),
    "norm": value("embedding", 1, 0, 0.5, expected="1 row with a norm off 1 by up to 0.*, .* row 1"),
    "norm of a window": value("w_embeddings", 1, 0, 0, 0.5, expected="1 row with a norm off 1 .* row 1"),
    "no direction": value("embedding", 0, [0.0] * 64, expected="1 row with a norm off 1 by up to 1"),
    "score": value("score", 2, NAN, expected="1 row with numbers that are not finite, .* row 2"),
    "one of the scores": value("scores", 2, 1, -INF, expected="1 row with numbers"),
    "score of a word": value("words", 2, 0, "score", NAN, expected="1 row with numbers"),
    "likelihood": value("log_likelihood", 0, NAN, expected="1 row with numbers"),
    "perplexity": value("perplexity", 0, 1.0, expected="1 row with a value that does not follow"),
    "word shifted": part(with_values("words", shift), "column words: 1 row with spans that do not quote"),
    "entity shifted": part(with_values("entities", shift), "column entities: 1 row with spans"),
    "word of another text": part(with_values("words", requote), "column words: 1 row with spans"),
    "place before the text": part(
        with_values("words", lambda values: values[0][0].update(start=-1, end=-1, text="")), "words: 1 row with spans"
    ),
    "reject dropped": rejects(lambda rows: rows.slice(0, 0), "has no rows, but the ledger 1 empty_text"),
    "reject doubled": rejects(doubled, "has 1 row more than once"),
    "reject that was written": (
        lambda out: out.rewrite(out.rejected(0), with_values("row", set_first(0, 1))), "1 row lacking, 1 too many",
    ),
    "reject of another shard": rejects(with_values("row", set_first(0, 900)), "has 1 row outside of its shard"),
    "reject that was not read": rejects(with_values("row", set_first(0, 3)), "has 1 row that input.filter leaves out"),
    "reason": rejects(with_values("reason", set_first(0, "whim")), "has 1 whim rows, but the ledger 1 empty_text"),
    "no reason": rejects(with_values("reason", set_first(0, "")), "has rows without a reason", reasons={"": 1}),
    "column of rejects": rejects(lambda rows: rows.drop(["detail"]), "has columns file, row, id, reason, expected"),
    "rejects gone": (lambda out: out.rejected(0).unlink(), "rejected/part.*: gone, though"),
    "a byte of rejects": (lambda out: flip(out.rejected(0), 40), "rejected/part.*: (changed|damaged)"),
    "rejects of a shard without": (lambda out: shutil.copy(out.rejected(0), out.rejected(1)), "rejected/p.*: not rec"),
    "record lost": (lambda out: out.output.ledger.replace(out.records[1:]), "_SUCCESS: says .* but 1 of 6 shards"),
    "record's sum": record("its record has 99 rows in, but 4 out and 1 rejected", rows_in=99),
    "record's count": record("has 4 rows, but 3 in the ledger", rows_out=3),
    "record's file": record("its record has file /etc/passwd, but the plan", file="/etc/passwd"),
    "record's reading": record("its record has rows_read 99, but the plan 8", rows_read=99),
    "record's digest of ids": record("its rows, or their order, are not those", ids_digest="00"),
    "plan cut": plan(lambda rows: rows[:-1], ".*1.parquet has 22 rows in 2 row groups, but the plan 16 in 1"),
    "plan cut, though recorded": (lambda out: out.edit_plan(lambda rows: rows[:-1]), "recorded .*, but not planned"),
    "plan with a gap": plan(lambda rows: [rows[0], *rows[2:]], "shards do not lie end to end"),
    "plan with a shard twice": plan(lambda rows: [*rows, rows[0]], "1 shard with an id that is not its own"),
    "plan that leaves the output": plan(lambda rows: [rows[0] | {"shard": "../x"}, *rows[1:]], "1 shard with an id"),
    "plan of another file": plan(lambda rows: [row | {"file": "/etc/passwd"} for row in rows], "6 shards with an id"),
    "fingerprint": job(lambda job: job["fingerprint"].update(format=0), "its fingerprint is .*, but its metadata"),
    "settings": job(lambda job: job["spec"]["input"].update(filter=None), "its settings are not .*: input"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_is_named(texts, fault):
    do, expected = FAULTS[fault]
    do(texts)
    verdict = texts.verify()
    assert re.search(expected, told(verdict)), told(verdict) or "no problem was found"
    assert not verdict.verified
    for problem in verdict.problems:
        assert "\n" not in str(problem)
        assert problem.where.startswith(str(texts.path))


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (with_values("file", set_first(1, "/x")), "has rows of another file than .*0.parquet"),
        (with_values("row", set_first(1, 5)), "1 row lacking, 1 too many, from row 1"),
        (with_values("answers", shift), "column answers: 1 row with spans that do not quote the text"),
        (with_values("words", requote), "column words: 1 row with spans that do not quote the text"),
        (with_values("no_answer_score", set_first(0, NAN)), "column no_answer_score: 1 row with numbers"),
        (swapped, "their order is another from row 0"),
    ],
)
def test_rows_without_ids_and_quotes_of_pairs(pairs, fault, expected):
    """Rows are told by their numbers; answers quote the second text, words the first, which is a list of words."""
    pairs.rewrite(pairs.part(0), fault)
    assert re.search(expected, told(pairs.verify()))


def test_no_flipped_bit_of_a_part_passes(texts):
    """Not in its data, not in what lies between, and not in the footer, which no checksum covers."""
    path, choose = texts.part(2), random.Random(11)
    whole = path.read_bytes()
    for place in [*choose.sample(range(len(whole)), 25), *choose.sample(range(len(whole) - 4000, len(whole)), 25)]:
        flip(path, place)
        found = texts.verify()
        assert [problem.where for problem in found.problems] == [str(path)] * len(found.problems), place
        assert found.problems, place
        path.write_bytes(whole)
    assert texts.verify().verified


def test_any_reader_can_check_the_pages_of_a_part(texts):
    path = texts.part(0)
    column = pq.ParquetFile(path).metadata.row_group(0).column(0)
    flip(path, column.data_page_offset + column.total_compressed_size - 5)
    with pytest.raises(OSError, match="CRC"):
        pq.read_table(path, page_checksum_verification=True)


def test_a_late_twin_of_a_shard_is_no_problem(texts):
    """Its numbers may differ in their last bits, as on a GPU; its rows, and the form of the file, may not."""

    def nudge(values: list[list[float]]) -> None:
        values[0][0] = float(np.nextafter(np.float32(values[0][0]), np.float32(1)))

    known = list(texts.records)
    texts.rewrite(texts.part(0), with_values("embedding", nudge))
    texts.output.ledger.replace(known)
    verdict = texts.verify()
    assert (told(verdict), verdict.verified) == ("", True)
    assert [note[:35] for note in verdict.notes] == ["1 part rewritten since recorded, ro"]


def test_a_shard_that_was_computed_again_has_two_records(texts):
    texts.output.ledger.append(texts.records[:1])
    verdict = texts.verify()
    assert verdict.verified
    assert verdict.notes[0].startswith("the ledger has 1 earlier record of shards that were computed again")


@pytest.fixture
def away(outputs) -> Iterator[Path]:
    """The first file of the input of texts, renamed for the length of a test."""
    source = outputs["texts"] / "in" / "0.parquet"
    backup = source.rename(source.with_suffix(".away"))
    yield source
    backup.replace(source)


@pytest.mark.parametrize("fate", ["gone", "changed since"])
def test_without_the_input_rows_are_held_against_the_ledger_alone(texts, away, fate):
    """Which is no problem, but is said; the parts, the rejects and the ledger must still agree."""
    if fate == "changed since":
        pq.write_table(pq.read_table(away.with_suffix(".away")).slice(1), away)
    verdict = texts.verify()
    assert (told(verdict), verdict.verified) == ("", True)
    assert re.match(f"1 file of the input not as planned .*0.parquet: {fate}.* 3 shards", verdict.notes[0])
    digest = texts.records[0]["ids_digest"]
    texts.rewrite(texts.part(0), swapped, ids_digest=digest)
    texts.rewrite(texts.part(1), with_values("words", set_first(0, 0, "text", "")))
    texts.rewrite(texts.rejected(0), with_values("row", set_first(0, 900)))
    assert re.findall("their order|do not quote|outside of its shard", told(texts.verify())) == [
        "outside of its shard", "their order", "do not quote",
    ]  # fmt: skip


def test_an_unfinished_output_is_not_damaged_and_not_verified(texts):
    """With a part whose record was not written before the run was killed."""
    (texts.path / "_SUCCESS").unlink()
    verdict = texts.verify()
    assert (told(verdict), verdict.complete, verdict.verified) == ("", False, False)
    texts.output.ledger.replace(texts.records[:4])
    texts.part(5).unlink()
    verdict = texts.verify()
    assert (told(verdict), verdict.done, verdict.planned, verdict.verified) == ("", 4, 6, False)
    assert verdict.notes == ["1 part without a record, as a run leaves that is stopped; the next one replaces them"]
    flip(texts.part(0), 40)
    assert "changed" in told(texts.verify()) or "damaged" in told(texts.verify())


def test_ids_are_unique_over_all_parts(texts):
    """Whatever the input says: here a cheat in it, too, so that every row is where it belongs."""
    taken = pq.read_table(texts.part(0), columns=["id"])["id"][1].as_py()
    known = texts.verify()
    texts.rewrite(texts.part(3), with_values("id", set_first(0, taken)))
    problems = told(texts.verify())
    assert known.verified
    assert re.search("-00000-000000000.parquet: 1 row with the id of an earlier one: row 0 has that of row 1", problems)
    texts.edit("job.json", lambda job: job["spec"]["policy"].update(duplicate_ids="ignore"))
    assert "the id of an earlier one" not in told(texts.verify())


@pytest.mark.parametrize("kind", ["int64", "large_string", "dictionary", "words"])
def test_ids_and_texts_of_other_types(demo, tmp_path, kind):
    size = 20
    ids = pa.array([f"{i}" for i in range(size)])
    ids = ids.dictionary_encode() if kind == "dictionary" else ids.cast("string" if kind == "words" else kind)
    texts = pa.array([["Der", "", "Hund"], ["bellt"]] * 10 if kind == "words" else ["Der Hund", "bellt 😀 laut"] * 10)
    pq.write_table(pa.table({"id": ids, "text": texts}), tmp_path / "in.parquet", row_group_size=15)
    spec = {
        "input": {"path": str(tmp_path / "in.parquet"), "id": "id", "text": "text", "lang": {"fixed": "de"}},
        "model": {"checkpoint": str(demo / "checkpoint")},
        "tokenizer": {"max_length": 128},
        "tasks": [{"token-classification": {"head": str(demo / "heads" / "upos")}}],
        "output": {"path": str(tmp_path / "out"), "rows_per_shard": 4},
    }
    write_whole(Job.model_validate(spec))
    verdict = Copy(tmp_path).verify()
    assert (told(verdict), verdict.notes, verdict.verified) == ("", [], True)
    assert verdict.counts["spans"] == (40 if kind == "words" else 50)  # of a lone emoji no word is made


@pytest.mark.parametrize(
    ("do", "expected"),
    [
        (lambda out: shutil.rmtree(out.path), "no output of a job"),
        (lambda out: shutil.rmtree(out.path / "_xlm"), "contains files that were not written by a job"),
        (lambda out: cut(out.path / "_xlm" / "job.json", 99), "job.json: damaged"),
        (lambda out: out.edit("job.json", lambda job: job["spec"].pop("tasks")), "job.json: damaged, or of another"),
        (lambda out: out.edit("job.json", lambda job: job.pop("columns")), "job.json: damaged, or of another"),
        (lambda out: out.edit("job.json", lambda job: job.update(metadata=[])), "job.json: damaged, or of another"),
        (lambda out: cut(out.path / "_xlm" / "plan.parquet", 99), "plan.parquet: damaged"),
        (lambda out: (out.path / "_xlm" / "plan.parquet").unlink(), "plan.parquet: gone"),
        (lambda out: cut(next((out.path / "_xlm" / "ledger").iterdir()), 99), "a damaged ledger file"),
    ],
)
def test_what_cannot_be_checked_at_all_is_one_clear_error(texts, do, expected):
    do(texts)
    with pytest.raises(FatalError, match=expected) as error:
        texts.verify()
    assert "\n" not in str(error.value)


def test_what_a_person_sees(texts):
    def printed() -> tuple[bool, str]:
        console = Console(file=StringIO(), width=200)
        verified = verify_output(str(texts.path), console)
        return verified, console.file.getvalue()

    verified, text = printed()
    assert verified
    assert re.search(r"shards +6 of 6 +\n +rows +26 out, 3 rejected +\n", text)
    assert text.splitlines()[-1].startswith(f"verified: {texts.path} holds every planned row once")
    texts.output.ledger.replace(texts.records[:-1])
    (texts.path / "_SUCCESS").unlink()
    assert "incomplete: " in printed()[1].splitlines()[-1]
    assert "1 shard still to do" in printed()[1].splitlines()[-1]
    for number in range(30):
        (texts.path / f"[red]{number}").touch()
    verified, text = printed()
    assert not verified
    assert text.count("problem: ") == 20
    assert "/[red]0: not recorded" in text
    assert text.splitlines()[-2:] == ["… and 10 more", f"not verified: {texts.path} has 30 problems"]
