"""`xlm eval` on outputs of real jobs prints tables, or JSON with the same numbers."""

import json
import re
from html import unescape

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from pipelines.job.job import Job
from pipelines.output.directory import Output
from pipelines.run.prepare import prepare_job
from tests.flow.in_process import run_to_records
from tests.pipelines.evaluation.outputs import labelled, write_gold, write_output

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def classified(demo, tmp_path_factory):
    """Run a job of the demo in this process: two languages, with topics as gold labels."""
    folder = tmp_path_factory.mktemp("classified")
    spec = yaml.safe_load((demo / "small.yaml").read_text(encoding="utf-8"))
    spec["input"] = {"path": str(demo / "corpus"), "id": "id", "text": "text", "lang": "lang", "keep": ["lang"]}
    spec["input"]["filter"] = 'lang in ["de", "sw"]'
    spec["tasks"] = [{"text-classification": {"head": str(demo / "heads" / "topic")}}]
    spec["output"] = {"path": str(folder / "out")}
    job = Job.model_validate(spec)
    records, prepared = run_to_records(job), prepare_job(job)
    output = Output(prepared.output)
    output.begin(prepared.description, prepared.plan.shards)
    output.ledger.append(records)
    corpus = pq.read_table(demo / "corpus", columns=["id", "topic"], filters=[("lang", "in", ["de", "sw"])])
    gold = [row for row in corpus.to_pylist() if row["topic"] is not None]
    return job.output.path, write_gold(folder, gold)


def test_tables(classified, xlm):
    out, gold = classified
    ended = xlm("eval", out, "--gold", gold, "--compare", out)
    assert (ended.status, ended.err) == (0, "")
    lines = ended.out.splitlines()
    assert lines[0].startswith(f"{out}  label, score and topic of {gold}")
    assert sum(line.startswith("all ") for line in lines) == 3  # metrics, and differences of two metrics
    assert sum(line.startswith("de ") for line in lines) == 3
    assert "B - A" in ended.out
    assert max(map(len, lines)) <= 200


def test_json_has_the_same_numbers(classified, xlm):
    out, gold = classified
    found = json.loads(xlm("eval", out, "--gold", gold, "--compare", out, "--json").out)
    accuracy = found["all"]["metrics"]["accuracy"]
    counts = found["confusion"]["counts"]
    assert accuracy["value"] == sum(counts[i][i] for i in range(len(counts))) / found["all"]["rows"]
    assert accuracy["low"] <= accuracy["value"] <= accuracy["high"]
    assert set(found["langs"]) == set(found["comparison"]["langs"]) == {"de", "sw"}
    assert found["comparison"]["all"]["mcnemar_p_value"] == 1
    assert sum(found["reliability"]["counts"]) == found["all"]["rows"]
    assert sum(label["gold"] for label in found["labels"]) == found["all"]["rows"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "text-classification is compared with gold labels; name their Parquet files with --gold"),
        (["--gold", "none.parquet"], "none.parquet: no such file or directory; correct --gold"),
        (["--gold", "GOLD", "--compare-gold", "GOLD"], "--compare-gold needs --compare"),
        (["--gold", "GOLD", "--compare", "GOLD"], "not the output of a job"),
    ],
)
def test_wrong_options(options, message, classified, xlm):
    out, gold = classified
    ended = xlm("eval", out, *(gold if option == "GOLD" else option for option in options))
    assert ended.status == 2
    assert message in ended.err
    assert ended.err.count("\n") == 1


def test_the_page_loads_nothing_and_escapes_labels(tmp_path, xlm):
    labels = ["<script>alert(1)</script>", "b&b", "\u202eright"]
    rows = [{"id": str(i), "lang": "<b>", "label": labels[i % 3], "score": 0.5} for i in range(9)]
    fields = [labelled("label", pa.string(), labels), pa.field("score", pa.float32())]
    out = write_output(tmp_path, "text-classification", rows, fields)
    gold = write_gold(tmp_path, [{"id": str(i), "label": labels[i % 2]} for i in range(9)])
    page = tmp_path / "evaluation.html"
    ended = xlm("eval", out, "--gold", gold, "--compare", out, "--html", str(page))
    assert ended.status == 0
    html = page.read_text(encoding="utf-8")
    assert not re.search(r"<script|<b>|https?:|src=|url\(", html)
    assert html.count("&lt;script&gt;") >= 2
    assert "default-src 'none'" in unescape(html)
    assert "B - A" in html
    assert "reliability diagram" in html
