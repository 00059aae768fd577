"""Rows get the language that their text is in, and the results that a column with this language would give them."""

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from jobs.doctor.target import try_job
from jobs.preview import read_preview
from pipelines.diff import compare_outputs
from pipelines.rows import UNKNOWN_LANG
from pipelines.run.estimate import estimate_job
from pipelines.run.execute import run
from pipelines.run.prepare import prepare_job
from pipelines.run.sample import compute_sample
from pipelines.stages.identify import _join_texts
from pipelines.storage import locate
from tests.flow.in_process import read_output, read_rejected, run_to_records
from tests.flow.run.outputs import quiet_console
from xlm_core import XLM


def results(path: str) -> pa.Table:
    """Read the results of an output by id: the names of parts depend on the input's path."""
    return read_output(path).select(["id", "embedding", "label", "score", "words"]).sort_by("id").combine_chunks()


def write_corpus(demo: Path, langs: dict[str, str], file: Path) -> str:
    """Write the demo's corpus with a column `found`; rows without a language get one that no checkpoint has."""
    tables = [pq.read_table(path) for path in sorted((demo / "corpus").glob("*.parquet"))]
    found = [pa.array([langs.get(row_id, "tlh") for row_id in table["id"].to_pylist()]) for table in tables]
    file.mkdir()
    for i, (table, column) in enumerate(zip(tables, found, strict=True), 1):
        pq.write_table(table.append_column("found", column), file / f"part-{i}.parquet")
    return str(file)


def test_languages_are_found_and_results_are_those_of_a_column_with_them(detect_job, make_job, demo, tmp_path):
    """Bit for bit, although languages are found by another model with another tokenizer."""
    job = detect_job(threshold=0.9)
    records = run_to_records(job)
    rows = read_output(job.output.path)
    added = ["detected_lang", "lang_score"]
    assert rows.schema.names == ["id", "lang", "topic", "year", *added, "embedding", "label", "score", "words"]
    pairs = list(zip(rows["lang"].to_pylist(), rows["detected_lang"].to_pylist(), strict=True))
    assert sum(lang == found for lang, found in pairs) > 0.98 * len(rows) > 200
    assert min(rows["lang_score"].to_pylist()) >= 0.9
    assert sum(map(Counter, ({c.lang: c.rows} for r in records for c in r.langs)), Counter()) == Counter(
        rows["detected_lang"].to_pylist()
    )

    langs = dict(zip(rows["id"].to_pylist(), rows["detected_lang"].to_pylist(), strict=True))
    corpus = write_corpus(demo, langs, tmp_path / "corpus")
    changes = {"input__path": corpus, "input__lang": "found", "output__path": str(tmp_path / "expected")}
    run_to_records(make_job(**changes, policy={"max_rejected": 1.0}))
    assert results(job.output.path).equals(results(str(tmp_path / "expected")))


@pytest.mark.parametrize("policy", ["reject", "neutral"])
def test_rows_below_the_threshold_are_of_unknown_language(detect_job, make_job, demo, tmp_path, policy):
    all_job = detect_job(threshold=0.0)
    run_to_records(all_job)
    scores = {row["id"]: row for row in read_output(all_job.output.path).to_pylist()}
    below = {row_id for row_id, row in scores.items() if row["lang_score"] < 0.98}
    assert 5 < len(below) < len(scores) / 2
    job = detect_job(
        threshold=0.98,
        output__path=str(tmp_path / "second"),
        policy={"max_rejected": 1.0, "unknown_lang": policy},
    )
    records = run_to_records(job)
    rows = {row["id"]: row for row in read_output(job.output.path).to_pylist()}
    rejected = {row["id"]: row for row in read_rejected(job.output.path) if row["reason"] == "unknown_lang"}
    if policy == "reject":
        assert rejected.keys() == below
        assert rows.keys() == scores.keys() - below
        for row_id, row in rejected.items():
            lang, score = scores[row_id]["detected_lang"], scores[row_id]["lang_score"]
            assert row["lang"] == lang
            assert row["detail"] == f"language {lang} has a score of {score:.3f}; input.lang.threshold is 0.98"
        return
    assert not rejected
    assert {row_id: (row["detected_lang"], row["lang_score"]) for row_id, row in rows.items()} == {
        row_id: (row["detected_lang"], row["lang_score"]) for row_id, row in scores.items()
    }
    assert sum(c.rows for r in records for c in r.langs if c.lang == UNKNOWN_LANG) == len(below)
    corpus = write_corpus(demo, {i: row["detected_lang"] for i, row in rows.items() if i not in below}, tmp_path / "in")
    neutral = {"policy": {"max_rejected": 1.0, "unknown_lang": "neutral"}, "output__path": str(tmp_path / "third")}
    run_to_records(make_job(input__path=corpus, input__lang="found", **neutral))
    assert results(job.output.path).equals(results(str(tmp_path / "third")))


def test_labels_are_resolved_as_codes_in_a_column_are(detect_job, renamed):
    """`zho_Hans` is zh; Yoruba is not in the checkpoint; `und` means that the head found no language."""
    folder = renamed({"zh": "zho_Hans", "sw": "yo", "th": "und"})
    job = detect_job(folder)
    (note, *_) = prepare_job(job).notes
    assert note == (
        f"input.lang: {folder} finds the language of each row during the run, one of 18 languages; rows in these are "
        "rejected, because they are not in the checkpoint's lang2id: yo, und"
    )
    run_to_records(job)
    rows = read_output(job.output.path)
    langs = dict(zip(rows["lang"].to_pylist(), rows["detected_lang"].to_pylist(), strict=True))
    assert langs["zh"] == "zho_Hans"
    assert "sw" not in langs
    assert "th" not in langs
    details = Counter(row["detail"] for row in read_rejected(job.output.path) if row["reason"] == "unknown_lang")
    assert details["language yo is not in the checkpoint's lang2id"] > 10
    assert details["language und is not in the checkpoint's lang2id"] > 10


def test_rows_without_usable_text_are_rejected_for_their_text(detect_job, tmp_path):
    schema = pa.schema([("id", pa.string()), ("text", pa.string())])
    texts = [b"The train is late.", None, b" ", b"\xff", "Der Zug kommt zu spät.".encode()]
    table = pa.Table.from_arrays(
        [pa.array(["a", "b", "c", "d", None]), pa.array(texts, pa.binary()).view(pa.string())], schema=schema
    )
    pq.write_table(table, tmp_path / "in.parquet")
    job = detect_job(threshold=0.0)
    settings = {"path": str(tmp_path / "in.parquet"), "id": "id", "text": "text", "lang": job.input.lang.model_dump()}
    job = detect_job(input=settings, tasks=["feature-extraction"], input__lang=settings["lang"])
    run_to_records(job)
    assert read_output(job.output.path)["id"].to_pylist() == ["a"]
    reasons = {row["id"]: row["reason"] for row in read_rejected(job.output.path)}
    assert reasons == {"b": "null_text", "c": "empty_text", "d": "invalid_utf8", None: "null_id"}


def test_texts_of_a_row_are_joined_and_cut():
    words = pa.array([["one", None, "two"], [], None, ["x" * 3_000]])
    column = pa.array([b"first ", b"\xff", None, b" last"], pa.binary()).view(pa.string())
    rows = pa.record_batch([column, words], ["text", "words"])
    assert list(_join_texts(rows, ["text", "words"])) == ["first one  two", "", "", "last " + "x" * 995]


def test_language_of_a_pair_is_that_of_its_texts_together(detect_job, demo, identifier, tmp_path):
    questions = pq.read_table(demo / "questions.parquet")
    pairs = zip(questions["question"].to_pylist(), questions["context"].to_pylist(), strict=True)
    joined = pa.table({"text": [" ".join(pair) for pair in pairs]})
    pq.write_table(joined, tmp_path / "joined.parquet")
    found: list[pa.Table] = []
    for path, text in ((demo / "questions.parquet", ["question", "context"]), (tmp_path / "joined.parquet", "text")):
        source = {"path": str(path), "text": text, "lang": {"detect": str(identifier), "threshold": 0.0}}
        out = str(tmp_path / f"out-{path.name}")
        run_to_records(
            detect_job(input=source, input__lang=source["lang"], output__path=out, tasks=["feature-extraction"])
        )
        found.append(read_output(out).select(["row", "detected_lang", "lang_score"]))
    assert len(found[0]) == len(questions)
    assert found[0].equals(found[1])


def test_report_preview_and_comparison_use_the_detected_languages(detect_job, make_job, in_process, tmp_path):
    job = detect_job(input__keep=["topic"])
    report = run(job, quiet_console())
    assert report["stage_seconds"]["identify"] > 0
    assert report["run"]["workers"] == {"identify": 1, "tokenize": 1, "infer": 1}
    assert {lang["lang"] for lang in report["langs"]} == set(report["statistics"]["langs"]) | {
        lang["lang"] for lang in report["langs"][12:]
    }
    preview = read_preview(locate(job.output.path), 18)
    assert len({row["detected_lang"] for row in preview.rows}) == 18
    other = make_job(output__path=str(tmp_path / "other"), policy={"max_rejected": 1.0})
    assert "identify" not in run(other, quiet_console())["stage_seconds"]
    diff = compare_outputs(locate(job.output.path), locate(other.output.path))
    assert diff.no_langs_reason is None
    assert len(diff.langs) >= 18


def test_sample_has_the_languages_of_a_run(detect_job):
    job = detect_job()
    run_to_records(job)
    expected = {row["id"]: row["detected_lang"] for row in read_output(job.output.path).to_pylist()}
    sample = compute_sample(prepare_job(job), 10)
    rows = pa.concat_tables((sample.parts / file.name).read_table() for file in sample.parts.list()).to_pylist()
    assert len(rows) > 5
    assert all(row["detected_lang"] == expected[row["id"]] for row in rows)
    assert len(ds.dataset(Path(job.output.path) / "data").to_table()) == len(expected)


def test_library_finds_the_languages_of_a_job(detect_job, identifier, corpus):
    job = detect_job(threshold=0.0)
    run_to_records(job)
    texts = {row["id"]: row["text"] for row in corpus}
    rows = [row for row in read_output(job.output.path).to_pylist() if row["id"] in texts]
    found = XLM.from_pretrained(identifier, device="cpu").classify([texts[row["id"]] for row in rows], None)
    assert [result.label for result in found] == [row["detected_lang"] for row in rows]
    scores = [row["lang_score"] for row in rows]
    np.testing.assert_allclose([result.score for result in found], scores, atol=2e-5)


def test_doctor_tries_the_checkpoint_that_identifies_languages(detect_job, demo):
    findings = {finding.name: finding for finding in try_job(detect_job(), print)}
    assert findings["input.lang"].status == "works"
    assert "identifies ar, bg, de" in findings["input.lang"].detail
    findings = {finding.name: finding for finding in try_job(detect_job(demo / "checkpoint"), print)}
    assert findings["input.lang"].status == "fails"


def test_estimate_has_the_stage_and_the_detected_languages(detect_job):
    job = detect_job()
    estimate = estimate_job(prepare_job(job), None, None, tflops=None)
    assert list(estimate.seconds) == ["start", "identify", "tokenize", "infer"]
    assert estimate.seconds["identify"] > 0
    assert not estimate.are_langs_counted
    found = Counter({lang.lang: lang.rows for lang in estimate.langs})
    assert found == sum((Counter({c.lang: c.rows}) for r in run_to_records(job) for c in r.langs), Counter())
