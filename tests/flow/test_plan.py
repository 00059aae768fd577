"""`xlm plan` estimates what a run counts."""

import io
import json
import re

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from rich.console import Console

from jobs.cli import main
from jobs.commands.job.plan import Cluster, print_plan
from jobs.job_file import load_job
from pipelines.output import Output
from pipelines.run import estimate_job, prepare_job
from tests.flow.in_process import run_to_records
from tests.flow.run.outputs import printed

SETTINGS = {"tasks": ["feature-extraction"], "compute": {"price_per_hour": 36}}


def test_tokens_are_those_of_a_run(make_job):
    """The sample has all rows of so small a corpus, so nothing is extrapolated."""
    job = make_job(**SETTINGS)
    estimate = estimate_job(prepare_job(job), None, None, tflops=None)
    found = {lang.lang: (lang.rows, lang.tokens, lang.truncated, lang.unknown) for lang in estimate.langs}
    expected: dict[str, tuple[int, ...]] = {}
    for record in run_to_records(job):
        for lang in record.langs:
            counts = (lang.rows, lang.tokens, lang.truncated, lang.unknown)
            expected[lang.lang] = tuple(map(sum, zip(expected.get(lang.lang, (0, 0, 0, 0)), counts, strict=True)))
    assert found == expected
    assert estimate.tokens == sum(tokens for _, tokens, *_ in expected.values())
    assert estimate.shard_rows[0] <= estimate.shard_rows[1] <= estimate.shard_rows[2] <= 64


@pytest.fixture
def sorted_job(make_job, tmp_path):
    """A job on 2,000 rows in row groups of 20, sorted by language, every second of which the filter keeps."""
    langs = ["de"] * 20 + ["en"] * 1_440 + ["fr"] * 40 + ["th"] * 460 + ["tlh"] * 40
    number = [*range(2_000)]
    table = pa.table({"text": ["A text."] * 2_000, "lang": langs, "is_kept": [i % 2 == 0 for i in number], "i": number})
    pq.write_table(table, tmp_path / "in.parquet", row_group_size=20)
    source = {"path": str(tmp_path / "in.parquet"), "text": "text", "lang": "lang", "filter": "is_kept and i >= 10"}
    return make_job(**SETTINGS, input=source, output={"path": str(tmp_path / "out"), "rows_per_shard": 20})


def test_rows_by_language_are_counted_in_a_sorted_corpus(sorted_job, capsys):
    """Also of languages that no row of the sample has, and of those that are rejected."""
    estimate = estimate_job(prepare_job(sorted_job), None, None, tflops=None)
    assert {lang.lang: lang.rows for lang in estimate.langs} == {"en": 720, "th": 230, "fr": 20, "de": 5}
    assert all(lang.tokens >= 2 * lang.rows for lang in estimate.langs)
    assert (estimate.rejected, estimate.rows_dropped) == ({"tlh": 20}, 1_005)
    assert estimate.num_sampled_shards < 100
    console = Console(file=io.StringIO(), width=200)
    print_plan(sorted_job, console, 10, Cluster(None, None, None))
    text = printed(console)
    assert "995 of 2,000 rows of 1 file in 100 shards\n" in text
    assert re.search(r"^de +5 ", text, re.MULTILINE)
    assert "20 other rows will be rejected for their language: tlh 20\n" in text
    assert re.search(r"^tokens estimated from a sample of \d+ rows in 32 of 100 shards$", text, re.MULTILINE)


def test_languages_of_a_sample_are_said_to_be_those_of_a_sample(sorted_job, monkeypatch):
    monkeypatch.setattr("pipelines.corpus.lang_counts._QUICK_ROWS", 1_999)
    console = Console(file=io.StringIO(), width=200)
    print_plan(sorted_job, console, 10, Cluster(None, None, None))
    text = printed(console)
    assert "up to 2,000 rows of 1 file in 100 shards\n" in text
    sample = r"^estimated from a sample of \d+ rows in 32 of 100 shards; other rows may have other languages$"
    assert re.search(sample, text, re.MULTILINE)


def test_larger_clusters_take_less_time(make_job):
    prepared = prepare_job(make_job(**SETTINGS))
    small, large = (estimate_job(prepared, cpus, gpus, tflops=0.01) for cpus, gpus in ((8, 1), (64, 8)))
    assert (small.pools.models, large.pools.models) == (1, 8)
    assert large.pools.tokenizers > small.pools.tokenizers
    assert small.is_gpu_assumed
    assert large.seconds["infer"] < small.seconds["infer"]
    assert small.seconds["infer"] == pytest.approx(small.tokens / small.model_rate)


def test_text_and_json_have_the_same_numbers(demo, capsys):
    cluster = ["--gpus", "4", "--cpus", "16", "--tflops", "50"]
    command = ["plan", str(demo / "small.yaml"), "--set", "compute.price_per_hour=36", *cluster]
    assert main([*command, "--json"]) == 0
    estimate = json.loads(capsys.readouterr().out)["estimate"]
    assert main(command) == 0
    text = capsys.readouterr().out
    assert f" for {estimate['tokens']:,} tokens" in text
    for lang in estimate["langs"]:
        assert re.search(rf"^{lang['lang']} +{lang['rows']:,} +{lang['tokens']:,} ", text, re.MULTILINE)
    assert "models: 4 with 1 GPU each" in text
    assert "(computed from the speed of the GPU)" in text
    assert estimate["cost"] == pytest.approx(estimate["total_s"] / 100)
    assert re.search(r"^expected cost: 0\.0\d at 36 per hour$", text, re.MULTILINE)


@pytest.mark.skipif(torch.cuda.is_available(), reason="the GPU of this machine is measured")
def test_speed_of_gpus_is_not_guessed(demo, capsys):
    assert main(["plan", str(demo / "small.yaml"), "--gpus", "4"]) == 2
    assert re.search(r"4 GPUs: this machine has none to measure; add --tflops", capsys.readouterr().err)


def test_quick_plan_has_the_shards_of_a_run(demo, tmp_path, capsys, monkeypatch):
    def num_shards(*settings: str) -> int:
        overrides = [argument for setting in settings for argument in ("--set", setting)]
        assert main(["plan", str(demo / "small.yaml"), "--quick", "--json", *overrides]) == 0
        return json.loads(capsys.readouterr().out)["shards"]

    output = f"output.path={tmp_path}/out"
    first = prepare_job(load_job(str(demo / "small.yaml"), [output]))
    assert num_shards(output) == len(first.plan.shards)
    assert num_shards(output, "output.rows_per_shard=8") > len(first.plan.shards)
    Output(first.output).begin(first.description, first.plan.to_table())
    assert num_shards(output, "output.rows_per_shard=8") == len(first.plan.shards)  # a run keeps those of the last one
    monkeypatch.setattr("pipelines.run.shard_limits._MAX_SECONDS", 1e-9)  # as with a checkpoint of many layers
    assert num_shards(f"output.path={tmp_path}/other") > len(first.plan.shards)
