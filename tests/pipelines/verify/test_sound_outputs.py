"""Verification accepts correct outputs, including those that are incomplete, rewritten, or whose input changed."""

import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.job.job import Job
from pipelines.verify import verify
from tests.pipelines.verify.output_copy import (
    OutputCopy,
    change_values,
    flip_bit,
    format_problems,
    set_value,
    swap_rows,
    write_output,
)


@pytest.mark.parametrize("name", ["texts", "pairs"])
def test_complete_output_is_verified_and_everything_in_it_is_counted(outputs, name):
    out = OutputCopy(outputs[name] / "out")
    verdict, seen = out.verify(), list[tuple[int, int]]()
    assert (format_problems(verdict), verdict.notes, verdict.verified) == ("", [], True)
    rows = pa.concat_tables(pq.read_table(out.part(i)) for i in range(len(out.records)))
    spans = sum(len(value) for n in ("words", "entities", "answers") if n in rows.schema.names for value in rows[n])
    vectors = len(rows) + (sum(map(len, rows["w_embeddings"])) if name == "texts" else 0)
    counts = verdict.counts
    assert (verdict.planned, verdict.done) == (len(out.records), len(out.records)) != (0, 0)
    assert (counts["rows_out"], counts["vectors"], counts["spans"]) == (len(rows), vectors, spans)
    assert counts["rows_rejected"] == sum(record.rows_rejected for record in out.records) > 0
    verify(out.output, lambda done, total: seen.append((done, total)))
    assert seen == sorted(seen)
    assert seen[0][0] == 0
    assert seen[-1][0] == seen[-1][1] > len(rows)  # progress includes the rows that the filter drops


def test_part_rewritten_by_a_task_that_ran_twice_is_accepted(texts):
    """On a GPU its numbers may differ in their last bits; its rows and the form of the file may not."""

    def nudge(values: list[list[float]]) -> None:
        values[0][0] = float(np.nextafter(np.float32(values[0][0]), np.float32(1)))

    records = list(texts.records)
    texts.rewrite(texts.part(0), change_values("embedding", nudge))
    texts.output.ledger.replace(records)
    verdict = texts.verify()
    assert (format_problems(verdict), verdict.verified) == ("", True)
    (note,) = verdict.notes
    assert note.startswith("1 part written again after the commit, with the same rows")


def test_earlier_records_of_a_shard_are_noted(texts):
    texts.output.ledger.append(texts.records[:1])
    verdict = texts.verify()
    assert verdict.verified
    assert verdict.notes[0].startswith("the ledger has 1 earlier record of shards that were computed again")


@pytest.mark.parametrize("state", ["deleted", "changed"])
def test_without_the_input_rows_are_compared_with_the_ledger_alone(texts, moved_input, state):
    """That is noted, not a problem; parts, rejected rows and ledger must still agree."""
    if state == "changed":
        pq.write_table(pq.read_table(moved_input.with_suffix(".away")).slice(1), moved_input)
    verdict = texts.verify()
    assert (format_problems(verdict), verdict.verified) == ("", True)
    assert re.match(f"1 input file changed, deleted or unreadable .*0.parquet: {state}.* 3 shards", verdict.notes[0])
    digest = texts.records[0].ids_digest
    texts.rewrite(texts.part(0), swap_rows, ids_digest=digest)
    texts.rewrite(texts.part(1), change_values("words", set_value(0, 0, "text", "")))
    texts.rewrite(texts.rejected(0), change_values("row", set_value(0, 900)))
    assert re.findall("their order|do not quote|outside of its shard", texts.problems()) == [
        "outside of its shard", "their order", "do not quote",
    ]  # fmt: skip


def test_incomplete_output_has_no_problems_and_is_not_verified(texts):
    """Also with a part that has no record, as a killed run leaves it."""
    (texts.path / "_SUCCESS").unlink()
    verdict = texts.verify()
    assert (format_problems(verdict), verdict.complete, verdict.verified) == ("", False, False)
    texts.output.ledger.replace(texts.records[:4])
    texts.part(5).unlink()
    verdict = texts.verify()
    assert (format_problems(verdict), verdict.done, verdict.planned, verdict.verified) == ("", 4, 6, False)
    assert verdict.notes == ["1 part without a record, left by a stopped run; the next run adopts or replaces them"]
    flip_bit(texts.part(0), 40)
    assert "changed" in texts.problems() or "damaged" in texts.problems()


@pytest.mark.parametrize("kind", ["int64", "large_string", "dictionary", "words"])
def test_output_with_other_types_of_ids_and_texts_is_verified(demo, tmp_path, kind):
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
    write_output(Job.model_validate(spec))
    verdict = OutputCopy(tmp_path / "out").verify()
    assert (format_problems(verdict), verdict.notes, verdict.verified) == ("", [], True)
    assert verdict.counts["spans"] == (40 if kind == "words" else 50)  # an emoji alone forms no word
