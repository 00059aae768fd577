"""`--json` of commands: one document, with the numbers of the text, and the same exit status."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from jobs.cli import main
from jobs.console import print_json
from jobs.job_file import load_job
from pipelines.run import run
from tests.flow.in_process import without_ray
from tests.flow.run.outputs import quiet_console

FILTER = "input.filter=lang in ['de', 'th', 'tlh']"


@pytest.fixture(scope="module")
def outputs(demo, tmp_path_factory) -> list[Path]:
    """Two outputs with rejected rows; their embeddings differ."""
    paths = []
    for pooling in ("mean", "max"):
        paths.append(tmp_path_factory.mktemp("json") / "out")
        settings = [FILTER, f"output.path={paths[-1]}", f"tasks.0.feature-extraction.pooling={pooling}"]
        with pytest.MonkeyPatch.context() as patch:
            without_ray(patch)
            run(load_job(demo / "small.yaml", [*settings, "policy.max_rejected=5"]), quiet_console())
    return paths


@pytest.fixture
def both(capsys):
    """Return a function that runs a command twice: the text that it prints, its JSON, and the exit status of both."""

    def both(*arguments: object):
        command = [str(argument) for argument in arguments]
        status = main(command)
        text = capsys.readouterr()
        assert main([*command, "--json"]) == status
        printed = capsys.readouterr()
        assert printed.err == text.err
        return text.out, json.loads(printed.out), status

    return both


def test_plan(demo, both):
    text, plan, _ = both("plan", demo / "small.yaml", "--limit", "1", "--quick")
    assert plan["rows_dropped"] is None  # the rows are not read
    assert plan["pruned"]["rows"] == 0
    assert f"up to {plan['rows']} rows of {plan['num_files']} files in {plan['shards']} shards" in text
    (file,) = plan["files"]
    assert re.search(rf"^ +{file['shards']} +{file['rows']} +\S+ kB  {re.escape(file['file'])}$", text, re.MULTILINE)


def test_inspect(checkpoint, both):
    text, summary, _ = both("inspect", checkpoint)
    assert f"{summary['layers']} layers, width {summary['width']}, {summary['attention_heads']} attention heads" in text
    assert f"{summary['parameters']:,} in {summary['tensors']} tensors" in text
    assert summary["content_hash"] in text
    assert summary["tokenizer"]["lowercase"] is True
    assert [head["kind"] for head in summary["heads"]] == ["language-modeling"]
    assert f"{summary['num_languages']}: {', '.join(summary['languages'])}" in re.sub(r"\s+", " ", text)


def test_check(demo, tmp_path, both):
    settings = ["--set", f"output.path={tmp_path}/out", "--set", FILTER]
    text, report, status = both("check", demo / "small.yaml", *settings, "--set", "policy.max_rejected=0", "--resolved")
    assert (status, report["can_run"]) == (3, False)
    assert report["problem"] in text
    langs = {use["lang"]: use for use in report["languages"]["langs"]}
    assert langs["tlh"]["rejected"] == "unknown_lang"
    assert re.search(rf"^th +{langs['th']['num_rows']} +th +{langs['th']['segmenter']} *$", text, re.MULTILINE)
    assert report["rows_dropped"] == report["languages"]["rows_dropped"]
    assert f"drops {report['rows_dropped']} of {report['rows']} rows" in text
    assert f"at least {report['rows_rejected']} of {report['languages']['rows']} rows" in text
    assert f"name: {report['job']['name']}\n" in text
    assert {column["name"] for column in report["columns"]} > {"id", "embedding", "label"}
    text, report, status = both("check", demo / "small.yaml", *settings, "--set", "policy.max_rejected=5")
    assert (status, report["can_run"], report["problem"]) == (0, True, None)
    num_kept = report["rows"] - report["rows_dropped"]
    assert f"the job can run: {num_kept} of {report['rows']} rows in {report['shards']} shards" in text


def test_show(outputs, both):
    text, shown, _ = both("show", outputs[0], "--limit", "3")
    assert shown["complete"]
    assert f"{shown['rows_in']} rows in = {shown['rows_out']} out + {shown['rows_rejected']} rejected" in text
    assert len(shown["rows"]) == 3
    roles = {column["name"]: column["role"] for column in shown["columns"]}
    assert (roles["id"], roles["lang"], roles["embedding"]) == ("id", "kept", "result")
    for row in shown["rows"]:
        assert f"id {row['id']}" in text
        assert len(row["embedding"]) == 64
    assert sum(rejected["rows"] for rejected in shown["rejected"]) == shown["rows_rejected"] > 0
    for rejected in shown["rejected"]:
        line = rf"^{rejected['reason']} +{rejected['rows']} +{rejected['examples'][0]['row']} "
        assert re.search(line, text, re.MULTILINE)


def test_verify(outputs, both):
    text, verdict, status = both("verify", outputs[0])
    assert (status, verdict["verified"], verdict["problems"]) == (0, True, [])
    assert f"{verdict['rows_out']} out, {verdict['rows_rejected']} rejected" in text
    assert f"{verdict['shards']} of {verdict['shards_planned']}" in text
    part = next((outputs[1] / "data").iterdir())
    content = part.read_bytes()
    part.unlink()
    text, verdict, status = both("verify", outputs[1])
    part.write_bytes(content)
    assert (status, verdict["verified"]) == (3, False)
    (problem,) = verdict["problems"]
    assert f"problem: {problem['url']}: {problem['message']}; {problem['advice']}\n" in text


def test_diff(outputs, both):
    text, diff, status = both("diff", *outputs, "--fail-on", "vectors=0.9999,rows=0")
    assert status == 4
    assert len(diff["drift"]) == 1
    assert f"{diff['rows']['all']['both']} rows in both, none in only one" in text
    columns = {column["name"]: column for column in diff["columns"]}
    total = columns["embedding"]["all"]
    cells = f"{total['rows']} +{total['changed']} .* {total['mean_similarity']:.6f} .* {total['min_similarity']:.6f} "
    assert re.search(rf"^all +{cells}", text, re.MULTILINE)
    assert columns["label"]["all"]["changed"] == 0
    assert set(columns["embedding"]["langs"]) == {"de", "th"}


def test_error_has_the_same_status_and_no_document(tmp_path, capsys):
    assert main(["show", str(tmp_path), "--json"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("xlm: ")


def test_values_that_json_does_not_have(capsysbinary):
    values = [
        float("nan"),
        float("-inf"),
        np.float32(0.5),
        np.int64(2**60),
        b"\xff",
        "\udc80ü\u2028",
        {1: (True, None)},
    ]
    print_json(values)
    printed = capsysbinary.readouterr().out
    assert "ü".encode() in printed
    assert json.loads(printed) == [None, None, 0.5, 2**60, "/w==", "\udc80ü\u2028", {"1": [True, None]}]
