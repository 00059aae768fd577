"""Rows of two outputs are matched by id and counted by language, for any shards and order."""

import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipelines.errors import FatalError
from pipelines.output.directory import Output
from pipelines.result_rows import row_index
from pipelines.storage import locate
from tests.pipelines.diff.comparing import by_id, compare, cosine, format_diff


def test_rows_in_only_one_output_are_counted_with_the_reason_of_their_rejection(run, rows, checkpoints):
    """By language, and separately for those that the other output rejected."""
    task = {"text-classification": {"head": str(checkpoints / "heads" / "topic")}}
    short = [*rows[:6], {"id": "odd", "lang": "de", "text": " "}, {"id": "tongue", "lang": "tlh", "text": "nuqneH"}]
    a = run([*rows[:6], rows[6], {"id": "odd", "lang": "de", "text": "hier"}], task, tokenizer__max_length=100)
    b = run([*short, rows[7], rows[8]], task, tokenizer__max_length=16, tokenizer__on_overflow="reject")
    in_a, in_b = by_id(a), by_id(b)
    too_long = in_a.keys() & {row["id"] for row in rows[:6]} - in_b.keys()
    assert 0 < len(too_long) < 6
    only_b = in_b.keys() - in_a.keys()
    diff = compare(a, b)
    assert diff.total.both == len(in_a.keys() & in_b.keys())
    assert diff.total.only_a == len(in_a.keys() - in_b.keys()) == len(too_long) + 2
    assert diff.total.rejected_in_b == {"too_many_tokens": len(too_long), "empty_text": 1}
    assert (diff.total.only_b, diff.total.rejected_in_a) == (len(only_b), {})
    assert only_b <= {rows[7]["id"], rows[8]["id"]}
    for lang, counts in diff.langs.items():
        here = {i for i, row in in_a.items() if row["lang"] == lang}
        assert counts.only_a == len(here - in_b.keys())
        assert counts.both == len(here & in_b.keys())
        assert counts.rejected_in_b["too_many_tokens"] == len(here & too_long)
        assert counts.only_b == sum(in_b[i]["lang"] == lang for i in only_b)
    other_way = compare(b, a)
    assert other_way.total.rejected_in_a == diff.total.rejected_in_b
    text = format_diff(a, b)
    assert f"only in A, rejected in B: too_many_tokens {len(too_long)}, empty_text 1" in text


def test_rows_without_an_id_are_matched_by_file_and_row(run, rows, tmp_path):
    path = tmp_path / "in.parquet"
    a = run(rows, {"feature-extraction": {}}, path=path, input__id=None)
    b = run(rows, {"feature-extraction": {}}, path=path, input__id=None, checkpoint="lm2", output__rows_per_shard=7)
    before, after = (by_id(output, "row") for output in (a, b))
    cosines = {i: cosine(before[i]["embedding"], after[i]["embedding"]) for i in before}
    worst = min(cosines, key=cosines.__getitem__)
    diff = compare(a, b)
    assert (diff.total.both, diff.columns[0].total.min_similarity_id) == (len(rows), f"{path}\n{worst}")
    assert f" {worst} of in.parquet" in format_diff(a, b)
    with pytest.raises(FatalError, match=r"identified by file and row in A and by id in B"):
        compare(a, run(rows[:3], {"feature-extraction": {}}))


def test_ids_of_different_types_are_matched_as_text(run, rows):
    numbered = [row | {"id": 10**12 + i} for i, row in enumerate(rows[:9])]
    a = run(numbered, {"feature-extraction": {}})
    b = run([row | {"id": str(row["id"])} for row in numbered[::-1]], {"feature-extraction": {}})
    diff = compare(a, b)
    assert (diff.total.both, diff.total.only_a, diff.total.only_b) == (9, 0, 0)
    assert diff.columns[0].total.is_same


def test_only_the_first_row_with_an_id_is_compared(run, rows):
    again = [*rows[:8], {"id": rows[0]["id"], "lang": "de", "text": "etwas ganz anderes"}]
    a = run(again, {"feature-extraction": {}}, policy__duplicate_ids="ignore")
    b = run([*rows[:8], rows[3]], {"feature-extraction": {}}, policy__duplicate_ids="ignore", output__rows_per_shard=2)
    diff = compare(a, b)
    assert (diff.a.num_repeats, diff.b.num_repeats) == (1, 1)
    assert (diff.total.both, diff.total.only_a, diff.total.only_b) == (8, 0, 0)
    assert diff.columns[0].total.is_same
    assert "9 rows, complete; 1 row skipped, because an earlier row has the same id" in format_diff(a, b)


def test_ids_with_equal_hashes_are_not_confused(runs, monkeypatch):
    expected = compare(*runs)
    monkeypatch.setattr(
        row_index, "hash_ids", lambda ids: np.array([len(i or "") % 2 for i in ids.to_pylist()], np.uint64)
    )
    found = compare(*runs)
    assert [c.total.min_similarity_id for c in found.columns] == [c.total.min_similarity_id for c in expected.columns]
    assert (found.total, found.langs) == (expected.total, expected.langs)
    assert found.a.num_repeats == 0


def test_results_do_not_depend_on_the_size_of_the_cache(runs, monkeypatch):
    expected = compare(*runs)
    monkeypatch.setattr(row_index, "_CACHE_BYTES", 1)
    found = compare(*runs)
    for ours, theirs in zip(found.columns, expected.columns, strict=True):
        assert ours.total.mean_similarity == pytest.approx(theirs.total.mean_similarity, nan_ok=True)
        assert (ours.total.changed, ours.total.gap) == (theirs.total.changed, theirs.total.gap)
    assert len(found.b.rows._cache) == 1


def test_languages_are_known_only_if_their_column_was_kept(run, rows):
    kept = run(rows[:12], {"feature-extraction": {}})
    dropped = run(rows[:12], {"feature-extraction": {}}, input__keep=[])
    assert list(compare(kept, dropped).langs) == ["all"]
    assert f"rows are not grouped by language: {dropped} did not keep its input.lang, column lang" in format_diff(
        kept, dropped
    )
    fixed = run([row for row in rows if row["lang"] == "de"], {"feature-extraction": {}}, input__lang={"fixed": "de"})
    assert list(compare(fixed, fixed).langs) == ["de"]


def test_codes_not_in_lang2id_are_counted_as_one_language(run, rows):
    """With a wrong input.lang, any text may be a language code; it is never printed."""
    odd = [row | {"lang": f"secret text {i}"} for i, row in enumerate(rows[:4])] + rows[4:8]
    a = run(odd, {"feature-extraction": {}}, policy__unknown_lang="neutral")
    b = run(odd, {"feature-extraction": {}}, policy__unknown_lang="neutral", checkpoint="lm2")
    assert compare(a, b).langs["und"].both == 4
    assert "secret" not in format_diff(a, b)


def test_missing_or_damaged_output_raises_one_clear_error(run, rows, tmp_path):
    good = run(rows[:20], {"feature-extraction": {}}, output__rows_per_shard=9)
    with pytest.raises(FatalError, match=r"nowhere: no such directory; name the output.path of a job"):
        compare(good, str(tmp_path / "nowhere"))
    broken = tmp_path / "broken"
    for damage, message in (
        (lambda part: part.unlink(), "missing, although the ledger has it; run the job again"),
        (lambda part: part.write_bytes(part.read_bytes()[:300]), "damaged; delete it, and run the job again"),
        (
            lambda part: pq.write_table(pq.read_table(part).slice(1), part),
            r"has \d rows?, expected \d as in the ledger",
        ),
    ):
        shutil.rmtree(broken, ignore_errors=True)
        shutil.copytree(good, broken)
        damage(sorted(broken.glob("data/part-*"))[-1])
        with pytest.raises(FatalError, match=message):
            compare(good, str(broken))
    shutil.rmtree(broken / "_xlm" / "ledger")
    with pytest.raises(FatalError, match="no results yet"):
        compare(str(broken), good)


def test_incomplete_output_is_compared_as_far_as_it_is_committed(run, rows, tmp_path):
    complete = run(rows[:20], {"feature-extraction": {}}, output__rows_per_shard=9)
    partial = tmp_path / "partial"
    shutil.copytree(complete, partial)
    output = Output(locate(str(partial)))
    output.mark_incomplete()
    first, *_ = output.ledger.load()
    output.ledger.replace([first])
    diff = compare(str(partial), complete)
    assert (diff.total.both, diff.total.only_a, diff.total.only_b) == (first.rows_out, 0, 20 - first.rows_out)
    assert f"{first.rows_out} rows, incomplete (1 of 3 shards)" in format_diff(str(partial), complete)
