"""Checkpoints whose files are valid one by one, but not together: refused or warned of before the first row."""

import io
import json
import os
import shutil
import signal
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file, save_file

from jobs.commands.checkpoint.convert import convert
from jobs.commands.checkpoint.inspect import inspect
from jobs.commands.job.check import check_job
from pipelines.checkpoints import local_checkpoint, pin_checkpoint
from pipelines.errors import FatalError
from pipelines.run import prepare_job
from xlm_core import XLMTokenizer


@pytest.fixture
def folder(checkpoint, tmp_path) -> Path:
    """A copy of the demo's checkpoint."""
    return Path(shutil.copytree(checkpoint, tmp_path / "checkpoint"))


@pytest.fixture
def check(make_job, folder):
    """Return a function that checks a job with the copy, and returns what is printed."""

    def check(*, show_defaults=False, **changes) -> str:
        out = io.StringIO()
        job = make_job(model__checkpoint=str(folder), tasks=["feature-extraction"], **changes)
        check_job(job, Console(file=out, width=400), show_defaults=show_defaults)
        return out.getvalue()

    return check


def edit_vocab(folder, change):
    path = folder / "vocab.json"
    path.write_text(json.dumps(change(json.loads(path.read_text(encoding="utf-8")))), encoding="utf-8")


def edit_merges(folder, change):
    path = folder / "merges.txt"
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join(change(lines)), encoding="utf-8")


def edit_tensors(folder, change):
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize(
    "damage",
    [
        sorted,
        lambda lines: lines[: len(lines) // 2],
        lambda lines: [line.encode().decode("latin-1") for line in lines],
        lambda lines: [line.replace(" ", "", 1) for line in lines],
    ],
    ids=["sorted", "cut off", "mojibake", "joined"],
)
def test_garbled_merges_are_refused(check, folder, damage):
    assert "warning" not in check()
    edit_merges(folder, damage)
    with pytest.raises(FatalError, match=r"merges.txt: .*; fetch vocab.json and merges.txt again") as caught:
        check()
    assert str(folder) in str(caught.value)


def test_merges_that_lack_their_last_lines_are_a_warning(check, folder):
    edit_merges(folder, lambda lines: lines[:-230])
    assert "warning: " in check()
    assert "merges.txt: builds none of " in check()


def test_a_vocabulary_without_many_tokens_is_refused(check, folder):
    edit_vocab(folder, lambda vocab: {token: i for token, i in vocab.items() if i < 1500})
    with pytest.raises(FatalError, match=r"vocab.json has 1,500 tokens, but the model has 2,834 embeddings"):
        check()


def test_a_vocabulary_without_some_tokens_is_a_warning(check, folder):
    edit_vocab(folder, lambda vocab: {token: i for token, i in vocab.items() if i < 2800})
    assert f"warning: {folder}: vocab.json has 2,800 tokens, but the model has 2,834 embeddings" in check()
    out = io.StringIO()
    inspect(folder, Console(file=out, width=400), "x")
    assert "(warning: " in out.getvalue()


def test_language_with_another_id_than_in_the_configuration_is_refused(check, folder):
    path = folder / "tokenizer_config.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    langs = settings["lang2id"]
    langs["de"], langs["en"] = langs["en"], langs["de"]
    path.write_text(json.dumps(settings), encoding="utf-8")
    with pytest.raises(
        FatalError, match=r"lang2id: got \d+ for '\w\w' in tokenizer_config.json, expected \d+ as in config"
    ):
        check()


def test_one_id_for_two_tokens_is_refused(check, folder):
    edit_vocab(folder, lambda vocab: vocab | {"newcomer</w>": 20})
    with pytest.raises(FatalError, match=r"vocab.json: id 20 is given to .* and to 'newcomer</w>'"):
        check()


def test_one_token_with_two_ids_is_refused(check, folder):
    path = folder / "vocab.json"
    path.write_text(path.read_text(encoding="utf-8").replace('"<s>": 0', '"<s>": 0, "<pad>": 7'), encoding="utf-8")
    with pytest.raises(FatalError, match=r"vocab.json: not valid JSON: '<pad>' occurs twice, with different values"):
        check()


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_weights_that_are_not_finite_are_refused(check, folder, value):
    edit_tensors(folder, lambda tensors: tensors["transformer.embeddings.weight"][5, 3:5].fill_(value))
    with pytest.raises(FatalError, match=r"weights are NaN or infinite: 2 of .* values of .*embeddings.weight; fetch"):
        check()


def test_a_head_with_weights_that_are_not_finite_is_refused(demo, make_job, tmp_path):
    head = Path(shutil.copytree(demo / "heads" / "topic", tmp_path / "head"))
    edit_tensors(head, lambda tensors: tensors["sequence_summary.summary.bias"].fill_(torch.nan))
    job = make_job(tasks=[{"text-classification": {"head": str(head)}}])
    with pytest.raises(FatalError, match=r"head/model.*: weights are NaN .* of sequence_summary.summary.bias"):
        check_job(job, Console(file=io.StringIO()), show_defaults=False)


@contextmanager
def no_waiting():
    """Interrupt a block that blocks."""

    def interrupt(*_):
        raise TimeoutError("waits for a writer")

    handler = signal.signal(signal.SIGALRM, interrupt)
    signal.alarm(20)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, handler)


NEEDED = ["config.json", "model.safetensors", "vocab.json", "merges.txt", "tokenizer_config.json", "tokenizer.json"]


@pytest.mark.parametrize("name", [*NEEDED, "added_tokens.json", "notes.txt", "optimizer.pth"])
def test_a_fifo_is_refused_or_ignored_without_waiting(folder, name):
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)
    actions = [
        lambda: local_checkpoint(pin_checkpoint(str(folder))),
        lambda: local_checkpoint(pin_checkpoint(f"file://{folder}")),
        lambda: convert(folder, folder.parent / "converted"),
        lambda: XLMTokenizer.from_pretrained(folder),
    ]
    errors = []
    with no_waiting():
        for action in actions:
            try:
                action()
            except FatalError as error:
                errors.append(str(error))
    assert bool(errors) == (name in [*NEEDED, "added_tokens.json"])
    assert all(f"{name}: cannot be read: not a file, but a FIFO, a socket or a device" in error for error in errors)


def test_max_length_is_by_default_what_the_positions_allow(make_job, check, checkpoints):
    """The demo's checkpoint has 128 positions."""
    assert "the job can run" in check(tokenizer__max_length=None)
    assert "max_length: 128" in check(tokenizer__max_length=None, show_defaults=True)
    default, explicit = (prepare_job(make_job(tokenizer__max_length=length)) for length in (None, 128))
    assert default.fingerprint == explicit.fingerprint
    assert default.description["spec"]["tokenizer"]["max_length"] == 128
    with pytest.raises(FatalError, match=r"max_length is 129, but .* has positions for 128 tokens; set it to at most"):
        check(tokenizer__max_length=129)
    model = {"checkpoint": str(checkpoints / "lm"), "objective": "causal"}
    generation = [{"text-generation": {"max_new_tokens": 28}}]
    prepared = prepare_job(make_job(model=model, tasks=generation, tokenizer__max_length=None))
    assert prepared.stages.tokenize.max_length == 101  # the prompt, without its end token, and 28 tokens


def test_windows_that_the_positions_do_not_allow_are_refused(check):
    window = {"tokenizer__max_length": None, "tokenizer__on_overflow": "window"}
    assert "the job can run" in check(**window, tokenizer__overlap_tokens=125)
    with pytest.raises(FatalError, match=r"overlap_tokens: got 200, but a window has room for 126 tokens .*128 tok"):
        check(**window, tokenizer__overlap_tokens=200)
