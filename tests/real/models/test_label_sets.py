"""Label sets as they are published: nearly BIO, lower case, Chinese; and how a job reads them."""

import io
import json
from pathlib import Path

import pytest
import torch
from rich.console import Console

from jobs.commands.checkpoint.inspect import inspect
from jobs.commands.job.check import check_job
from pipelines.errors import FatalError
from pipelines.run import prepare_job
from xlm_core import TokenClassificationHead, XLMConfig

BIO = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
BMES = ["O", *(f"{prefix}-NAME" for prefix in "BMES")]


@pytest.fixture
def save_head(checkpoints, tmp_path):
    """Return a function that saves a head with random weights for the labels, and returns its directory."""

    def save(labels):
        config = json.loads((checkpoints / "lm" / "config.json").read_text()) | {"id2label": dict(enumerate(labels))}
        del config["label2id"]
        torch.manual_seed(len(labels))
        head = TokenClassificationHead(XLMConfig.from_dict(config))
        with torch.no_grad():
            head.classifier.weight.mul_(20)
        head.save_pretrained(tmp_path / "head")
        return str(tmp_path / "head")

    return save


def entities_job(make_job, head, **settings):
    return make_job(tasks=[{"token-classification": {"head": head, "aggregate": "entity", **settings}}])


def checked(job) -> str:
    out = io.StringIO()
    check_job(job, Console(file=out, width=300), show_defaults=False)
    return out.getvalue()


@pytest.mark.parametrize(
    ("labels", "types"),
    [
        ([*BIO, "[CLS]"], {"PER", "LOC"}),
        ([*BIO, "X"], {"PER", "LOC"}),
        ([*BIO, "<PAD>"], {"PER", "LOC"}),
        ([label.lower() for label in BIO], {"per", "loc"}),
        (BMES, {"NAME"}),
        (["B", "M", "E", "S"], {"_"}),
    ],
)
def test_entities_have_types_instead_of_tags(run_rows, save_head, corpus, labels, types):
    rows = [row for row in corpus if row["lang"] in ("en", "zh")][:30]
    task = {"token-classification": {"head": save_head(labels), "aggregate": "entity"}}
    found = run_rows(rows, [task])
    assert {entity["label"] for row in found.values() for entity in row["entities"]} == types


def test_check_and_inspect_say_how_labels_are_read(make_job, save_head):
    head = save_head([*BIO, "[CLS]", "X"])
    line = "labels read as BIO: 2 entity types; ignored: [CLS], X"
    assert f"token-classification: {line}\n" in checked(entities_job(make_job, head))
    out = io.StringIO()
    inspect(Path(head), Console(file=out, width=300), head)
    assert f"({line})" in out.getvalue()


def test_an_unclear_set_is_a_warning(make_job, save_head):
    text = checked(entities_job(make_job, save_head([*BIO, "MISC"])))
    assert "warning: token-classification: labels read as BIO: 3 entity types, but labels without a prefix" in text
    assert "are read as types of their own: MISC; set scheme, or rename labels in the head's config.json" in text


def test_a_scheme_in_the_job_that_does_not_fit_is_refused(make_job, save_head):
    job = entities_job(make_job, save_head(BMES), scheme="bio")
    with pytest.raises(FatalError, match=r"token-classification: scheme bio: expected O and .*, got M-NAME, E-NAME"):
        prepare_job(job)
    assert "plain: 4 entity types" in checked(entities_job(make_job, save_head(BMES), scheme="plain"))


def test_a_scheme_without_entities_is_refused(make_job):
    with pytest.raises(ValueError, match="scheme concerns entities; set aggregate to entity"):
        make_job(tasks=[{"token-classification": {"scheme": "bio"}}])
