"""Changes to the checkpoint of a trial job."""

import json
import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from tests.chaos.bad_input.trial_job import Change, TrialJob
from xlm_core import SequenceClassificationHead, XLMConfig, XLMForSequenceClassification

TRAP = "pickle_was_loaded"  # the directory that the malicious pickles make next to the checkpoint


def change_checkpoint(change: Callable[[Path], Any]) -> Change:
    """Change a copy of the checkpoint."""
    return lambda job: change(job.copy_checkpoint()) and None


def write_file(name: str, data: str | bytes) -> Change:
    """Replace the content of a file."""
    return change_checkpoint(
        lambda folder: (folder / name).write_bytes(data if isinstance(data, bytes) else data.encode())
    )


def edit_json(name: str, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Change:
    """Change a JSON file."""

    def edit(folder: Path) -> None:
        path = folder / name
        path.write_text(json.dumps(change(json.loads(path.read_text(encoding="utf-8")))), encoding="utf-8")

    return change_checkpoint(edit)


def edit_lines(name: str, change: Callable[[list[str]], list[str]]) -> Change:
    """Change the lines of a text file."""

    def edit(folder: Path) -> None:
        path = folder / name
        path.write_text("".join(change(path.read_text(encoding="utf-8").splitlines(keepends=True))), encoding="utf-8")

    return change_checkpoint(edit)


def remove_file(name: str) -> Change:
    """Remove a file."""
    return change_checkpoint(lambda folder: (folder / name).unlink())


def replace_by_fifo(name: str) -> Change:
    """Replace a file by a FIFO, which would make a reader wait forever."""

    def replace(folder: Path) -> None:
        (folder / name).unlink()
        os.mkfifo(folder / name)

    return change_checkpoint(replace)


def change_tensors(change: Callable[[dict[str, torch.Tensor]], Any]) -> Change:
    """Change the weights."""

    def save(folder: Path) -> None:
        path = folder / "model.safetensors"
        held = load_file(path)
        change(held)
        save_file(held, path)

    return change_checkpoint(save)


def change_header(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Change:
    """Change the header of the weights, and keep their data."""

    def rewrite(folder: Path) -> None:
        path = folder / "model.safetensors"
        data = path.read_bytes()
        (length,) = struct.unpack("<Q", data[:8])
        text = json.dumps(change(json.loads(data[8 : 8 + length]))).encode()
        path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])

    return change_checkpoint(rewrite)


def overlap_tensors(held: dict[str, Any]) -> dict[str, Any]:
    return {
        name: entry if name == "__metadata__" else entry | {"data_offsets": [0, entry["data_offsets"][1]]}
        for name, entry in held.items()
    }


class Trap:
    """A pickle that makes a directory when it is loaded."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.path),)


def write_pickle(name: str, *, bare: bool = False) -> Change:
    """Replace the weights by a pickle that makes a directory."""

    def save(folder: Path) -> None:
        (folder / "model.safetensors").unlink()
        if bare:
            (folder / name).write_bytes(pickle.dumps({"trap": Trap(folder / TRAP)}, protocol=2))
        else:
            torch.save({"trap": Trap(folder / TRAP)}, folder / name)

    return change_checkpoint(save)


def change_shapes_and_names(held: dict[str, torch.Tensor]) -> None:
    names = sorted(held)
    held[names[0]] = torch.zeros(3, 5)
    del held[names[1]]
    held["surplus.weight"] = torch.zeros(1)


def use_other_vocabulary(job: TrialJob) -> None:
    vocab = {"<s>": 0, "</s>": 1, "<pad>": 2, "<unk>": 3} | {f"word{i}": 90_000 + i for i in range(100)}
    (job.copy_checkpoint() / "vocab.json").write_text(json.dumps(vocab | {"<special1>": 5}), encoding="utf-8")


def set_head(job: TrialJob, head: Path) -> None:
    job.set("tasks", [{"text-classification": {"head": str(head)}}])


def use_narrow_head(job: TrialJob) -> None:
    config = json.loads((job.demo / "heads" / "topic" / "config.json").read_text(encoding="utf-8"))
    SequenceClassificationHead(XLMConfig.from_dict(config | {"emb_dim": 32})).save_pretrained(job.folder / "head")
    set_head(job, job.folder / "head")


def use_head_of_other_trunk(job: TrialJob) -> None:
    config = XLMConfig.from_pretrained(job.demo / "heads" / "topic")
    XLMForSequenceClassification(config).save_pretrained(job.folder / "head")
    set_head(job, job.folder / "head")


def negate_ids(vocab: dict[str, Any]) -> dict[str, Any]:
    return {word: i if i < 20 else -i for word, i in vocab.items()}
