"""`xlm calibrate` on real heads: jobs then write scores that are divided by the temperature, and the same labels."""

import json
import shutil

import fsspec
import numpy as np
import pyarrow as pa
import pytest
from safetensors.torch import load_file, save_file

from jobs.job_file import load_job
from pipelines.run.prepare import prepare_job
from tests.flow.heads import LABELS
from tests.flow.in_process import read_output, run_to_records
from tests.pipelines.evaluation.outputs import write_gold
from xlm_core import content_hash
from xlm_core.checkpoint import XLMConfig, set_score_temperature

pytestmark = pytest.mark.long


def run(path):
    """Run a job in this process, and return its rows by id."""
    job = load_job(path)
    run_to_records(job)
    return {row["id"]: row for row in read_output(job.output.path).to_pylist()}


def softmax(logits):
    exps = np.exp(logits - np.max(logits))
    return exps / exps.sum()


def draw(rng, scores, temperature):
    """Draw a label by probabilities at another temperature than that of the scores."""
    return int(rng.choice(len(scores), p=softmax(np.log(scores) / temperature)))


def test_classification(write_job, heads, tmp_path, xlm):
    """The temperature by which gold labels were drawn is found, and a job divides logits by it."""
    task = {"text-classification": {"head": str(heads / "topic"), "scores": True}}
    before = run(write_job(task))
    rng = np.random.default_rng(0)
    gold = [{"id": i, "label": LABELS["topic"][draw(rng, row["scores"], 3.0)]} for i, row in before.items()]
    ended = xlm("calibrate", write_job(task), "--gold", write_gold(tmp_path, gold), "--json")
    found = json.loads(ended.out)
    temperature = found["after"]["temperature"]
    assert 1.5 < temperature < 6
    assert found["after"]["loss"] < found["before"]["loss"]
    assert found["after"]["accuracy"] == found["before"]["accuracy"]
    assert (found["before"]["temperature"], found["rows"], found["missing"]) == (1.0, len(gold), 0)
    after = run(write_job(task))
    for row_id, row in before.items():
        assert after[row_id]["label"] == row["label"]
        expected = softmax(np.log(row["scores"]) / temperature)
        assert after[row_id]["scores"] == pytest.approx(expected, abs=1e-5)
    again = json.loads(xlm("calibrate", write_job(task), "--gold", write_gold(tmp_path, gold), "--json").out)
    assert again["before"] == again["after"] == found["after"]


def test_several_labels(write_job, heads, tmp_path, xlm):
    task = {"text-classification": {"head": str(heads / "several"), "problem": "multi-label", "scores": True}}
    before = run(write_job(task))
    rng = np.random.default_rng(0)
    gold = []
    for row_id, row in before.items():
        scores = np.array(row["scores"])
        chance = 1 / (1 + ((1 - scores) / scores) ** 0.5)  # at a temperature of 2
        gold.append({"id": row_id, "labels": [LABELS["topic"][c] for c in np.flatnonzero(rng.random(3) < chance)]})
    schema = pa.schema([("id", pa.string()), ("labels", pa.list_(pa.string()))])
    found = json.loads(xlm("calibrate", write_job(task), "--gold", write_gold(tmp_path, gold, schema), "--json").out)
    assert found["decisions"] == 3 * len(gold)
    temperature = found["after"]["temperature"]
    assert temperature == pytest.approx(2, rel=0.5)
    for row_id, row in run(write_job(task)).items():
        scores = np.array(before[row_id]["scores"], np.float64)
        assert row["scores"] == pytest.approx(1 / (1 + (1 / scores - 1) ** (1 / temperature)), abs=1e-5)


def test_words(write_job, heads, rows, tmp_path, xlm):
    task = {"token-classification": {"head": str(heads / "tags")}}
    before = run(write_job(task, text="words"))
    gold = [{"id": i, "tags": [word["label"] or "O" for word in row["words"]]} for i, row in before.items()]
    for i, row in enumerate(gold):  # half of the sentences are labelled wrongly
        if i % 2:
            row["tags"] = ["B-LOC" if tag != "B-LOC" else "O" for tag in row["tags"]]
    path = write_gold(tmp_path, gold)
    found = json.loads(xlm("calibrate", write_job(task, text="words"), "--gold", path, "--json").out)
    assert found["decisions"] <= sum(len(row["words"]) for row in rows)
    assert found["after"]["temperature"] > 1
    after = run(write_job(task, text="words"))
    for row_id, row in before.items():
        assert [word["label"] for word in after[row_id]["words"]] == [word["label"] for word in row["words"]]
        assert after[row_id]["words"][0]["score"] < row["words"][0]["score"]


def test_choices(write_job, heads, tmp_path, xlm):
    task, text = {"multiple-choice": {"head": str(heads / "choice")}}, ["text", "second", "third"]
    path = write_job(task, text=text)
    before = run(path)
    choices = {row_id: row["choice"] for row_id, row in before.items()}
    gold = [{"id": i, "label": choice if n % 3 else 1 - choice} for n, (i, choice) in enumerate(choices.items())]
    found = json.loads(xlm("calibrate", path, "--gold", write_gold(tmp_path, gold), "--json").out)
    temperature = found["after"]["temperature"]
    after = run(write_job(task, text=text))
    for row_id, row in before.items():
        assert after[row_id]["choice"] == row["choice"]
        assert after[row_id]["scores"] == pytest.approx(softmax(np.log(row["scores"]) / temperature), abs=1e-5)


def test_a_copy_is_written_and_the_head_is_left_unchanged(write_job, heads, tmp_path, xlm):
    job = write_job({"text-classification": {"head": str(heads / "topic")}})
    gold = write_gold(tmp_path, [{"id": i, "label": "a"} for i in run(job)])
    hash_before = content_hash(heads / "topic")
    ended = xlm("calibrate", job, "--gold", gold, "--output", str(tmp_path / "copy"))
    assert ended.status == 0
    assert "written to" in ended.out
    assert content_hash(heads / "topic") == hash_before != content_hash(tmp_path / "copy")
    assert XLMConfig.from_pretrained(tmp_path / "copy").score_temperature != 1
    assert "not written" in xlm("calibrate", job, "--gold", gold, "--dry-run").out
    assert content_hash(heads / "topic") == hash_before
    assert (
        "exists; name a new directory" in xlm("calibrate", job, "--gold", gold, "--output", str(tmp_path / "copy")).err
    )


def test_results_at_another_temperature_need_a_new_output(write_job, heads):
    job = load_job(write_job({"text-classification": {"head": str(heads / "topic")}}))
    before = prepare_job(job).fingerprint
    set_score_temperature(heads / "topic", 2.5)
    after = prepare_job(job).fingerprint
    assert [name for name in before if before[name] != after[name]] == ["heads"]


def test_only_the_temperature_of_a_configuration_changes(heads):
    file = heads / "topic" / "config.json"
    before = json.loads(file.read_text(encoding="utf-8"))
    set_score_temperature(file.parent, 0.5)
    assert json.loads(file.read_text(encoding="utf-8")) == before | {"score_temperature": 0.5}
    with pytest.raises(Exception, match="score_temperature"):
        set_score_temperature(file.parent, 0)
    assert XLMConfig.from_pretrained(file.parent).score_temperature == 0.5


TOPIC, TAGS = "text-classification", "token-classification"


@pytest.mark.parametrize(
    ("tasks", "text", "gold", "message"),
    [
        ([(TOPIC, "values", {"problem": "regression"})], "text", {"label": "a"}, "a regression has no scores"),
        (
            [(TOPIC, "topic", {}), (TOPIC, "topic", {"prefix": "b_"})],
            "text",
            {"label": "a"},
            "--column: label, b_label",
        ),
        ([(TAGS, "tags", {})], "text", {"tags": ["O"]}, "name a column with lists of words"),
        ([(TAGS, "tags", {})], "words", {"tags": ["O"]}, "another number of words in words than of gold labels"),
        ([(TOPIC, "topic", {})], "text", {"label": "z"}, "1 label that the head does not have: z"),
        ([(TOPIC, "topic", {})], "text", {"label": None}, "label is null"),
        ([(TOPIC, "topic", {})], "text", {"label": "a", "id": "none"}, "no row of the corpus has a gold label"),
        (["feature-extraction"], "text", {"label": "a"}, "no task whose scores a temperature calibrates"),
    ],
)
def test_what_cannot_be_calibrated(tasks, text, gold, message, write_job, heads, rows, tmp_path, xlm):
    specs = [t if isinstance(t, str) else {t[0]: {"head": str(heads / t[1])} | t[2]} for t in tasks]
    schema = pa.schema([("id", pa.string()), ("label", pa.string())]) if gold.get("label", 0) is None else None
    path = write_gold(tmp_path, [{"id": rows[0]["id"]} | gold], schema)
    ended = xlm("calibrate", write_job(specs, text=text), "--gold", path)
    assert ended.status == 2
    assert message in ended.err
    assert ended.err.count("\n") == 1


def test_heads_that_share_a_configuration_are_refused(write_job, checkpoints, heads, tmp_path, xlm):
    both = shutil.copytree(heads / "topic", tmp_path / "both")
    tensors = load_file(both / "model.safetensors") | load_file(heads / "tags" / "model.safetensors")
    labels = XLMConfig.from_pretrained(heads / "topic").num_labels
    tensors |= {name: tensors[name][:labels].clone() for name in tensors if name.startswith("classifier")}
    save_file(tensors, both / "model.safetensors", metadata={"format": "pt"})
    gold = write_gold(tmp_path, [{"id": "x", "label": "a"}])
    ended = xlm("calibrate", write_job({"text-classification": {"head": str(both)}}), "--gold", gold)
    assert "contains several heads (" in ended.err


def test_a_head_in_a_store_is_copied(write_job, heads, rows, tmp_path, xlm):
    store = fsspec.filesystem("memory")
    store.put(str(heads / "topic"), "/heads-in-a-store/topic", recursive=True)
    job = write_job({"text-classification": {"head": "memory://heads-in-a-store/topic"}})
    gold = write_gold(tmp_path, [{"id": row["id"], "label": "abc"[i % 3]} for i, row in enumerate(rows)])
    refused = xlm("calibrate", job, "--gold", gold)
    assert refused.status == 2
    assert "memory://heads-in-a-store/topic: cannot be changed there; name a local directory" in refused.err
    target = tmp_path / "copy"
    found = json.loads(xlm("calibrate", job, "--gold", gold, "--output", str(target), "--json").out)
    assert found["written"] == str(target)
    assert XLMConfig.from_pretrained(target).score_temperature == found["after"]["temperature"] != 1
    assert (target / "model.safetensors").read_bytes() == (heads / "topic" / "model.safetensors").read_bytes()
