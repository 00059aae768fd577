"""The statistics of a report: those of the written rows, for every task, by language and over time."""

import json
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest

from pipelines.output.directory import Output
from pipelines.report.sample import Sample, read_sample
from pipelines.report.statistics import collect_statistics, summarize
from pipelines.report.timeline import Timeline
from pipelines.storage import locate
from pipelines.tasks import parse_tasks
from tests.flow.in_process import read_output, run_to_records
from tests.pipelines.output.shard_records import make_record


@pytest.fixture(scope="module")
def written(demo, checkpoints, tmp_path_factory):
    """Run every kind of task with one text column; returns the job's tasks, its rows and their summary."""
    from jobs.job_file import load_job

    out, heads = tmp_path_factory.mktemp("statistics") / "out", checkpoints / "heads"
    tasks = [
        {"feature-extraction": {"prefix": "float_"}},
        {"feature-extraction": {"prefix": "bits_", "dtype": "binary"}},
        {"feature-extraction": {"prefix": "windows_", "windows": "each"}},
        {"text-classification": {"head": str(heads / "topic")}},
        {"text-classification": {"head": str(heads / "several"), "problem": "multi-label", "prefix": "several_"}},
        {"text-classification": {"head": str(heads / "values"), "problem": "regression", "prefix": "value_"}},
        {"token-classification": {"head": str(demo / "heads" / "upos")}},
        "lm-scoring",
    ]
    settings = [
        f"output.path={out}",
        f"model.checkpoint={checkpoints / 'lm'}",
        f"tasks={json.dumps(tasks)}",
        "policy.max_rejected=1.0",
    ]
    job = load_job(demo / "small.yaml", settings)
    records = run_to_records(job)
    output = Output(locate(str(out)))
    output.ledger.append(records)
    sample = read_sample(output, output.ledger.load())
    assert sample is not None
    return records, read_output(str(out)), sample, summarize(sample, job.tasks, job.input.output_lang_column)


def test_small_output_is_summarized_completely(written):
    records, rows, sample, summary = written
    assert (summary["rows"], summary["parts"]) == (len(rows), sum(record.rows_out > 0 for record in records))
    assert len(sample.rows) == len(rows)
    json.dumps(summary, allow_nan=False)


def test_labels_are_counted_by_language(written):
    _, rows, _, summary = written
    columns = {column["name"]: column for column in summary["columns"]}
    counts = Counter(rows["label"].to_pylist())
    assert dict(zip(columns["label"]["labels"], columns["label"]["counts"][""], strict=True)) == counts
    lang = summary["langs"][0]
    of_lang = Counter(row["label"] for row in rows.select(["label", "lang"]).to_pylist() if row["lang"] == lang)
    found = dict(zip(columns["label"]["labels"], columns["label"]["counts"][lang], strict=True))
    assert {label: count for label, count in found.items() if count} == of_lang
    words = Counter(word["label"] for words in rows["words"].to_pylist() for word in words)
    assert columns["words.label"]["totals"][""] == words.total()


def test_histograms_contain_every_number(written):
    _, rows, _, summary = written
    columns = {column["name"]: column for column in summary["columns"]}
    scores = rows["score"].to_numpy()
    assert sum(columns["score"]["counts"][""]) == len(scores)
    assert columns["score"]["medians"][""] == pytest.approx(np.median(scores), rel=1e-5)
    assert columns["score"]["edges"][0] == 0.0
    assert columns["score"]["edges"][-1] == 1.0
    assert sum(columns["log10(perplexity)"]["counts"][""]) == len(rows)


def test_maps_have_a_point_for_each_row_and_the_directions_of_most_variance(written):
    _, rows, _, summary = written
    columns = {column["name"]: column for column in summary["columns"]}
    for name in ("float_embedding", "bits_embedding", "windows_embeddings"):
        points = [point for group in columns[name]["points"].values() for point in group]
        assert len(points) == len(rows)
        first, second = columns[name]["explained"]
        assert 1 >= first >= second > 0
    vectors = np.array(rows["float_embedding"].to_pylist())
    _, scales, _ = np.linalg.svd(vectors - vectors.mean(0), full_matrices=False)
    expected = (scales**2 / (scales**2).sum())[:2]
    np.testing.assert_allclose(columns["float_embedding"]["explained"], expected, rtol=1e-3)


@pytest.mark.parametrize("num_rows", [1, 2, 3])
def test_few_rows_have_a_map(written, num_rows):
    _, _, sample, _ = written
    tasks = parse_tasks({"tasks": [{"feature-extraction": {"prefix": "float_"}}]})
    (column,) = summarize(Sample(sample.rows.slice(0, num_rows).combine_chunks(), 1), tasks, None)["columns"]
    assert len(column["explained"]) == 2
    assert [len(point) for point in column["points"][""]] == [2] * num_rows


def test_lengths_are_those_of_the_rows(written):
    records, rows, *_ = written
    assert sum(sum(lang.lengths) for record in records for lang in record.langs) == len(rows)
    for record in records:
        for lang in record.langs:
            low = sum(number * 2**i for i, number in enumerate(lang.lengths))
            assert low <= lang.tokens + lang.truncated < 2 * low


def test_errors_leave_the_report_without_statistics(written, tmp_path, caplog):
    records, *_ = written
    tasks, output = parse_tasks({"tasks": ["lm-scoring"]}), Output(locate(str(tmp_path)))
    output.ledger.append(records)
    assert collect_statistics(output, output.ledger.load(), tasks, None) is None  # no part exists
    assert "FileNotFoundError" in caplog.text


def test_timeline_is_bounded_and_loses_nothing():
    timeline, rng = Timeline(), np.random.default_rng(0)
    records = [make_record(i) for i in range(3_000)]
    for elapsed_s, record in zip(np.cumsum(rng.exponential(20, 3_000)), records, strict=True):
        timeline.add(float(elapsed_s), record)
    found = timeline.to_json()
    assert len(found["tokens"]) <= 120
    assert sum(found["tokens"]) == sum(record.tokens for record in records)
    assert sum(found["infer_s"]) == pytest.approx(sum(record.infer_s for record in records))
    assert found["interval_s"] * len(found["tokens"]) >= 50_000


def test_rows_of_a_language_that_is_not_in_the_output_count_for_all(written):

    _, _, sample, _ = written
    tasks = parse_tasks({"tasks": [{"text-classification": {"head": "x"}}]})
    summary = summarize(Sample(sample.rows.drop_columns(["lang"]), 1), tasks, None)
    assert summary["langs"] == []
    assert list(summary["columns"][0]["counts"]) == [""]
    assert isinstance(sample.rows, pa.Table)
