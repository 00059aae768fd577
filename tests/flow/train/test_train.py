"""Whole trainings: in this process, and some of them on Ray Train."""

import io
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import transformers
from pydantic import ValidationError
from rich.console import Console
from safetensors.torch import load_file

from pipelines.errors import FatalError
from pipelines.train import train
from pipelines.training_job import TrainingJob
from tests.flow.train.conftest import KINDS
from tests.flow.train.in_process import train_here
from xlm_core import XLM, XLMConfig, XLMForTokenClassification

pytestmark = pytest.mark.long

Make = Callable[..., Any]


def train_on_ray(job: TrainingJob) -> dict[str, Any]:
    return train(job, Console(file=io.StringIO()))


def curve(report_of: TrainingJob) -> dict[str, list[float]]:
    """Return the loss of each step, by objective, from the newest state."""
    from xlm_core.training import read_values

    newest = max(Path(report_of.output.path).glob("_xlm/states/step-*"))
    points = read_values(newest.read_bytes())["more"]["curve"]
    return {name: [point["loss"] for point in found] for name, found in points.items()}


@pytest.mark.usefixtures("cluster")
def test_every_objective_trains_one_trunk(make_training: Make, objective: Make):
    kinds = [kind for kind in KINDS if kind != "causal-language-modeling"]
    job = make_training(*(objective(kind) for kind in kinds), steps=len(kinds) * 2)
    report = train_on_ray(job)
    assert report["status"] == "complete"
    assert {found["name"]: found["steps"] for found in report["objectives"]} == dict.fromkeys(kinds, 2)
    out = Path(job.output.path)
    heads = {"text-classification", "token-classification", "multiple-choice", "question-answering"}
    assert {path.name for path in (out / "heads").iterdir()} == heads
    assert (out / "_SUCCESS").is_file()
    assert sorted(json.loads((out / "heads/token-classification/config.json").read_text())["label2id"]) == [
        "LONG",
        "SHORT",
    ]
    assert train_on_ray(job)["status"] == "complete"  # does nothing
    other = job.model_copy(update={"training": job.training.model_copy(update={"learning_rate": 1e-5})})
    with pytest.raises(FatalError, match=r"begun with other settings \(training.learning_rate\)"):
        train_on_ray(other)


def test_finetuned_checkpoint_gives_the_same_logits_in_the_reference(make_training: Make, objective: Make):
    job = make_training(objective("token-classification"))
    train_here(job)
    folder = Path(job.output.path) / "model"
    ours = XLMForTokenClassification.from_pretrained(folder)
    theirs = transformers.XLMForTokenClassification.from_pretrained(folder).eval()
    ids, langs = torch.arange(3, 19).reshape(2, 8), torch.ones(2, 8, dtype=torch.int64)
    with torch.no_grad():
        logits = theirs(input_ids=ids, langs=langs).logits
        assert (ours(input_ids=ids, langs=langs).logits - logits).abs().max() < 1e-5
    xlm = XLM.from_pretrained(folder, ja="fugashi")
    assert xlm.tag([["one", "two"]], lang="en")


def test_reference_checkpoint_is_trained_further(
    make_training: Make, objective: Make, checkpoint: Path, tmp_path: Path
):
    config = transformers.XLMConfig.from_pretrained(checkpoint)
    config.id2label, config.label2id = {0: "LONG", 1: "SHORT"}, {"LONG": 0, "SHORT": 1}
    model = transformers.XLMForTokenClassification(config)
    theirs = tmp_path / "theirs"
    model.save_pretrained(theirs)
    for name in ("vocab.json", "merges.txt", "tokenizer_config.json"):
        (theirs / name).write_bytes((checkpoint / name).read_bytes())
    spec = objective("token-classification", head=str(theirs))
    job = make_training(spec, model={"checkpoint": str(theirs)}, steps=1, learning_rate=1e-9)
    train_here(job)
    before, after = model.state_dict(), load_file(Path(job.output.path) / "model/model.safetensors")
    assert all(np.allclose(after[name], before[name], atol=1e-6) for name in after)


@pytest.mark.usefixtures("cluster")
def test_two_workers_equal_one(make_training: Make, objective: Make):
    specs = [objective("token-classification"), objective("masked-language-modeling")]
    config = {"config": {"emb_dim": 32, "n_layers": 2, "n_heads": 4, "dropout": 0.0, "attention_dropout": 0.0}}
    losses: list[dict[str, list[float]]] = []
    for workers in (1, 2):
        job = make_training(*specs, model=config | {"tokenizer": make_training(*specs).model.tokenizer}, steps=4)
        job = job.model_copy(update={"compute": job.compute.model_copy(update={"workers": workers})})
        train_on_ray(job) if workers > 1 else train_here(job)
        losses.append(curve(job))
    one, two = losses
    assert one.keys() == two.keys()
    for name, values in one.items():
        assert two[name] == pytest.approx(values, abs=1e-4)


def test_head_over_a_frozen_trunk_fits_the_checkpoint(make_training: Make, objective: Make):
    pretrained = make_training(objective("masked-language-modeling"), steps=2)
    train_here(pretrained)
    folder = Path(pretrained.output.path) / "model"
    before = (folder / "model.safetensors").read_bytes()
    spec = objective("token-classification", name="length")
    model = {"checkpoint": str(folder), "freeze": True}
    job = make_training(spec, model=model, steps=60, learning_rate=0.01, evaluate_every=10)
    progress = train_here(job)
    assert progress["evaluations"][-1]["loss"] < math.log(2)  # that of a head without training
    out = Path(job.output.path)
    assert not (out / "model").exists()
    assert (folder / "model.safetensors").read_bytes() == before
    xlm = XLM.from_pretrained(folder, ja="fugashi")
    (row,) = xlm.tag([["one", "international"]], lang="en", head=out / "heads/length")
    assert {word.label for word in row} <= {"SHORT", "LONG"}


def test_patience_ends_a_training_that_gets_no_better(make_training: Make, objective: Make):
    job = make_training(objective("text-classification"), steps=40, learning_rate=0.5, evaluate_every=2, patience=2)
    report = train_here(job)
    assert report["status"] == "complete"
    assert report["step"] < 40


@pytest.mark.parametrize(
    ("problem", "label", "expected"),
    [
        ("regression", "value", "regression"),
        ("multi-label", "several", "multi_label_classification"),
        ("single-label", "topic", "single_label_classification"),
    ],
)
def test_column_type_decides_what_a_head_learns(
    make_training: Make, objective: Make, problem: str, label: str, expected: str
):
    job = make_training(objective("text-classification", label=label), steps=1)
    train_here(job)
    config = json.loads((Path(job.output.path) / "model/config.json").read_text())
    assert config["problem_type"] == expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"input": {"filter": "split == 'none'"}}, "no rows; correct"),
        ({"dev": {"filter": "split == 'none'"}}, "dev: no rows; correct"),
        ({"dev": {"filter": "split == 'train'"}}, "dev has the same rows as input"),
        ({"label": "topic"}, "column topic|one for each of"),
        ({"input": {"lang": {"fixed": "qq"}}}, "qq"),
    ],
)
def test_bad_input_has_one_clear_line(make_training: Make, objective: Make, change: dict[str, Any], message: str):
    with pytest.raises(FatalError, match=message) as error:
        train_here(make_training(objective("token-classification", **change)))
    assert "\n" not in str(error.value)


def test_language_is_not_detected(make_training: Make, objective: Make):
    with pytest.raises(ValidationError, match="a training does not detect languages; name a column"):
        make_training(objective("text-classification", input={"lang": {"detect": "somewhere"}}))


def test_labels_must_fit_the_words_and_the_head(
    make_training: Make, objective: Make, rows: list[dict[str, Any]], tmp_path: Path
):
    import pyarrow as pa

    wrong = [row | {"labels": row["labels"][1:]} for row in rows]
    pq.write_table(pa.Table.from_pylist(wrong), tmp_path / "wrong.parquet")
    with pytest.raises(FatalError, match=r"wrong\.parquet: row \d+: \d+ labels? in labels, expected one for each of"):
        train_here(make_training(objective("token-classification", input={"path": str(tmp_path / "wrong.parquet")})))
    trained = make_training(objective("token-classification"), steps=1)
    train_here(trained)
    unknown = [row | {"labels": ["OTHER"] * len(row["labels"])} for row in rows]
    pq.write_table(pa.Table.from_pylist(unknown), tmp_path / "unknown.parquet")
    head = f"{trained.output.path}/heads/token-classification"
    spec = objective("token-classification", input={"path": str(tmp_path / "unknown.parquet")}, head=head)
    model = {"checkpoint": f"{trained.output.path}/model"}
    with pytest.raises(FatalError, match=r"labels that the head does not have: OTHER; .* the head has LONG, SHORT"):
        train_here(make_training(spec, model=model))


def test_loss_that_is_not_finite_ends_the_training(make_training: Make, objective: Make):
    with pytest.raises(FatalError, match="lower the learning rate"):
        train_here(
            make_training(objective("masked-language-modeling"), learning_rate=1e30, max_grad_norm=None, steps=6)
        )


def test_head_records_the_languages_that_it_was_trained_on(make_training: Make, objective: Make):
    def train_on(langs: list[str], **changes: Any) -> tuple[str, Any]:
        source = {"filter": f"lang in {langs}"} | changes.pop("input", {})
        spec = objective("token-classification", name="length", dev=None, input=source, **changes)
        job = make_training(spec, steps=1, model=model)
        neutral = job.policy.model_copy(update={"unknown_lang": "neutral"})
        train_here(job.model_copy(update={"policy": neutral}))
        head = f"{job.output.path}/heads/length"
        return head, XLMConfig.from_pretrained(head).trained_langs

    model = None
    german, langs = train_on(["en", "de"])
    assert langs == ["de", "en"]
    model = {"checkpoint": str(Path(german).parents[1] / "model")}
    assert train_on(["fr"], head=german)[1] == ["de", "en", "fr"]
    unknown, langs = train_on(["fr"], head=german, input={"lang": {"fixed": "xx"}})
    assert langs is None
    assert train_on(["fr"], head=unknown)[1] is None


def test_head_reads_the_layer_that_it_was_trained_on(make_training: Make, objective: Make, rows: list[dict[str, Any]]):
    with pytest.raises(FatalError, match=r"text-classification: got layer 3, but the model has 2 layers; set layer to"):
        train_here(make_training(objective("text-classification", layer=3)))
    job = make_training(objective("text-classification", layer=0, pooling="mean"), steps=60, learning_rate=0.01)
    progress = train_here(job)
    folder, head = Path(job.output.path) / "model", Path(job.output.path) / "heads/text-classification"
    assert XLMConfig.from_pretrained(head).summary_layer == 0
    weights = load_file(folder / "model.safetensors")
    assert not any("summary" in name for name in weights)  # the reference's class would read the last layer
    dev = [row for row in rows if row["split"] == "dev"]
    found = XLM.from_pretrained(folder, ja="fugashi").classify(
        [row["text"] for row in dev], lang=[row["lang"] for row in dev], head=head
    )
    right = sum(result.label == row["topic"] for result, row in zip(found, dev, strict=True))
    assert right / len(dev) == pytest.approx(progress["evaluations"][-1]["accuracy"], abs=1e-6)
    config = json.loads((head / "config.json").read_text()) | {"summary_layer": -3, "n_layers": 2}
    (head / "config.json").write_text(json.dumps(config))
    again = XLM.from_pretrained(folder, ja="fugashi").classify(dev[0]["text"], lang=dev[0]["lang"], head=head)
    assert (again.label, again.score) == (found[0].label, pytest.approx(found[0].score, abs=1e-6))
    (head / "config.json").write_text(json.dumps(config | {"summary_layer": 3, "n_layers": 3}))
    with pytest.raises(FatalError, match=r"reads layer 3, but the checkpoint has 2; name a head that was trained on"):
        XLM.from_pretrained(folder, ja="fugashi").classify(dev[0]["text"], lang=dev[0]["lang"], head=head)
