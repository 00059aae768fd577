"""Checkpoints with a file that is missing, damaged, of another model, or that would do harm."""

import json
import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from tests.chaos.bad_input.bad_job_files import setting
from tests.chaos.bad_input.bench import Bench, Harmless, Refused, Spoil
from xlm_core import SequenceClassificationHead, XLMConfig, XLMForSequenceClassification

TRAP = "a_pickle_ran"  # the directory that a pickle which is loaded makes, beside the checkpoint


def own(change: Callable[[Path], Any]) -> Spoil:
    """Change a copy of the checkpoint."""
    return lambda bench: change(bench.own_checkpoint()) and None


def file(name: str, data: str | bytes) -> Spoil:
    """Have a file of the checkpoint hold something else."""
    return own(lambda folder: (folder / name).write_bytes(data if isinstance(data, bytes) else data.encode()))


def edited(name: str, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Spoil:
    """Change one of the checkpoint's files of JSON."""

    def edit(folder: Path) -> None:
        path = folder / name
        path.write_text(json.dumps(change(json.loads(path.read_text(encoding="utf-8")))), encoding="utf-8")

    return own(edit)


def without(name: str) -> Spoil:
    """Take a file of the checkpoint away."""
    return own(lambda folder: (folder / name).unlink())


def fifo(name: str) -> Spoil:
    """Put a FIFO in the place of a file, from which nothing ever comes."""

    def replace(folder: Path) -> None:
        (folder / name).unlink()
        os.mkfifo(folder / name)

    return own(replace)


def tensors(change: Callable[[dict[str, torch.Tensor]], Any]) -> Spoil:
    """Change the weights."""

    def save(folder: Path) -> None:
        path = folder / "model.safetensors"
        held = load_file(path)
        change(held)
        save_file(held, path)

    return own(save)


def header(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Spoil:
    """Have the header of the weights say something else of the same values."""

    def rewrite(folder: Path) -> None:
        path = folder / "model.safetensors"
        data = path.read_bytes()
        (length,) = struct.unpack("<Q", data[:8])
        text = json.dumps(change(json.loads(data[8 : 8 + length]))).encode()
        path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])

    return own(rewrite)


def _all_at_zero(held: dict[str, Any]) -> dict[str, Any]:
    return {
        name: entry if name == "__metadata__" else entry | {"data_offsets": [0, entry["data_offsets"][1]]}
        for name, entry in held.items()
    }


class Trap:
    """What makes a directory when a careless loader loads it."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.path),)


def pickled(name: str, *, bare: bool = False) -> Spoil:
    """Have the weights be a pickle that makes a directory."""

    def save(folder: Path) -> None:
        (folder / "model.safetensors").unlink()
        if bare:
            (folder / name).write_bytes(pickle.dumps({"trap": Trap(folder / TRAP)}, protocol=2))
        else:
            torch.save({"trap": Trap(folder / TRAP)}, folder / name)

    return own(save)


def _wrong_shapes(held: dict[str, torch.Tensor]) -> None:
    names = sorted(held)
    held[names[0]] = torch.zeros(3, 5)
    del held[names[1]]
    held["surplus.weight"] = torch.zeros(1)


def _another_models_vocabulary(bench: Bench) -> None:
    vocab = {"<s>": 0, "</s>": 1, "<pad>": 2, "<unk>": 3} | {f"word{i}": 90_000 + i for i in range(100)}
    (bench.own_checkpoint() / "vocab.json").write_text(json.dumps(vocab | {"<special1>": 5}), encoding="utf-8")


def _head(bench: Bench, head: Path) -> None:
    bench.set("tasks", [{"text-classification": {"head": str(head)}}])


def _narrow_head(bench: Bench) -> None:
    config = json.loads((bench.demo / "heads" / "topic" / "config.json").read_text(encoding="utf-8"))
    SequenceClassificationHead(XLMConfig.from_dict(config | {"emb_dim": 32})).save_pretrained(bench.folder / "head")
    _head(bench, bench.folder / "head")


def _head_of_another_trunk(bench: Bench) -> None:
    config = XLMConfig.from_pretrained(bench.demo / "heads" / "topic")
    XLMForSequenceClassification(config).save_pretrained(bench.folder / "head")
    _head(bench, bench.folder / "head")


def _swapped(vocab: dict[str, Any]) -> dict[str, Any]:
    return {word: i if i < 20 else -i for word, i in vocab.items()}


VOCAB, MERGES, CONFIG, WEIGHTS = "vocab.json", "merges.txt", "config.json", "model.safetensors"

CHECKPOINTS: list[Refused | Harmless] = [
    Refused(
        "a checkpoint that is not there",
        lambda b: b.set("model.checkpoint", f"{b.folder}/nowhere"),
        "nowhere: no such checkpoint directory",
    ),
    Refused(
        "a file for a checkpoint",
        lambda b: b.set("model.checkpoint", str(b.corpus / "a.parquet")),
        "a.parquet: no such checkpoint directory",
    ),
    Refused(
        "an empty directory for a checkpoint", lambda b: b.set("model.checkpoint", str(b.corpus)), "has no config.json"
    ),
    Refused(
        "a checkpoint in the memory of a process",
        setting("model.checkpoint", "memory://nowhere"),
        "no such directory, or no file in it",
    ),
    Refused(
        "a name of the hub that is none", setting("model.checkpoint", "hf://a"), "no such form; write hf://org/name"
    ),
    *(
        Refused(f"no {name}", without(name), "checkpoint: " if name != MERGES else "merges.txt: no merge table here")
        for name in (CONFIG, WEIGHTS, VOCAB, MERGES)
    ),
    *(Refused(f"an empty {name}", file(name, ""), f"checkpoint/{name}: ") for name in (CONFIG, WEIGHTS, VOCAB, MERGES)),
    *(
        Refused(f"a web page for {name}", file(name, "<!doctype html><title>404</title>"), f"checkpoint/{name}: ")
        for name in (CONFIG, WEIGHTS, VOCAB, MERGES)
    ),
    *(Refused(f"a FIFO for {name}", fifo(name), f"checkpoint/{name}: ") for name in (CONFIG, WEIGHTS, VOCAB, MERGES)),
    *(
        Refused(
            f"a directory for {name}",
            own(lambda folder, name=name: ((folder / name).unlink(), (folder / name).mkdir())),
            f"checkpoint/{name}: cannot be read",
        )
        for name in (CONFIG, WEIGHTS, VOCAB, MERGES)
    ),
    Refused(
        "a config.json of another family", edited(CONFIG, lambda c: c | {"model_type": "bert"}), "of another family"
    ),
    Refused("a config.json that is a list", file(CONFIG, "[]"), "expected a JSON object, got list"),
    Refused("a config.json of endless brackets", file(CONFIG, '{"a":' + "[" * 100_000), "not valid JSON"),
    Refused(
        "a config.json of a number without end", file(CONFIG, '{"emb_dim": ' + "9" * 10_000 + "}"), "not valid JSON"
    ),
    Refused("a config.json with NaN", edited(CONFIG, lambda c: c | {"dropout": float("nan")}), "dropout"),
    Refused("a config.json with text for a number", edited(CONFIG, lambda c: c | {"n_layers": "2"}), "n_layers"),
    Refused(
        "a width that the heads do not divide", edited(CONFIG, lambda c: c | {"n_heads": 7}), "a divisor of emb_dim"
    ),
    Refused(
        "a million million layers", edited(CONFIG, lambda c: c | {"n_layers": 10**12}), "too few for the 1000000000000"
    ),
    Refused(
        "a vocabulary of a million million",
        edited(CONFIG, lambda c: c | {"n_words": 10**12, "vocab_size": 10**12}),
        "embeddings.weight",
    ),
    Refused(
        "a million million labels",
        edited(CONFIG, lambda c: {k: v for k, v in c.items() if "label" not in k} | {"num_labels": 10**12}),
        "num_labels",
    ),
    Refused("a language id beyond the model's", edited(CONFIG, lambda c: c | {"lang2id": {"en": 10_000}}), "lang2id"),
    Refused(
        "weights cut off", own(lambda folder: os.truncate(folder / WEIGHTS, 5_000)), "cut off, or not a safetensors"
    ),
    Refused(
        "weights without their last byte",
        own(lambda folder: os.truncate(folder / WEIGHTS, (folder / WEIGHTS).stat().st_size - 1)),
        "cut off, or not a safetensors file",
    ),
    Refused(
        "weights that Git LFS left as a pointer",
        file(WEIGHTS, "version https://git-lfs.github.com/spec/v1\n"),
        "is a Git LFS pointer",
    ),
    Refused("weights of other shapes and names", tensors(_wrong_shapes), "missing 1"),
    Refused(
        "weights of whole numbers",
        tensors(lambda held: held.update({name: tensor.to(torch.int32) for name, tensor in held.items()})),
        "expected floating point",
    ),
    Refused("a header longer than the weights", file(WEIGHTS, struct.pack("<Q", 2**60) + b"{}"), "cut off, or not"),
    Refused("a header by which tensors overlap", header(_all_at_zero), "cut off, or not a safetensors file"),
    Refused(
        "a header by which a tensor lies beyond the file",
        header(lambda held: held | {"more": {"dtype": "F32", "shape": [4], "data_offsets": [2**40, 2**40 + 16]}}),
        "cut off, or not a safetensors",
    ),
    Refused(
        "a pickle in a .bin that would run code", pickled("pytorch_model.bin"), "its pickle would call posix.mkdir"
    ),
    Refused(
        "a bare pickle for a .bin that would run code",
        pickled("pytorch_model.bin", bare=True),
        "would call posix.mkdir",
    ),
    Refused("a pickle in a .pth that would run code", pickled("mlm.pth"), "its pickle would call posix.mkdir"),
    Refused("a vocab.json that is a list", file(VOCAB, '["<s>", "</s>"]'), "expected a JSON object, got list"),
    Refused("a vocab.json without special tokens", file(VOCAB, '{"a</w>": 0}'), "vocab.json lacks"),
    Refused("a vocab.json with fractions for ids", edited(VOCAB, lambda v: v | {"a": 1.5}), "whole-number id, from 0"),
    Refused("a vocab.json with text for ids", edited(VOCAB, lambda v: v | {"a": "1"}), "whole-number id, from 0"),
    Refused("a vocab.json with true for an id", edited(VOCAB, lambda v: v | {"a": True}), "whole-number id, from 0"),
    Refused("a vocab.json with ids below zero", edited(VOCAB, _swapped), "whole-number id, from 0"),
    Refused("a vocab.json with huge ids", edited(VOCAB, lambda v: v | {"a": 2**70}), "whole-number id, from 0"),
    Refused(
        "a vocab.json larger than the model", edited(VOCAB, lambda v: v | {"newcomer": 99_999}), "has ids up to 99999"
    ),
    Refused("a vocab.json of another model", _another_models_vocabulary, "has ids up to 90099"),
    Refused("a vocab.json in Latin-1", file(VOCAB, '{"é": 1}'.encode("latin-1")), "vocab.json: not valid JSON"),
    Refused("a merges.txt without a merge", file(MERGES, "\n\n\n"), "holds no merges"),
    Refused("a merges.txt in another encoding", file(MERGES, "é t\n".encode("latin-1")), "not UTF-8 at byte 0"),
    Refused("a merges.txt with a byte order mark", file(MERGES, "\ufefft h 12\n"), "begins with a byte order mark"),
    Refused(
        "a tokenizer_config.json with text for true",
        edited("tokenizer_config.json", lambda c: c | {"do_lowercase_and_remove_accent": "false"}),
        "expected true or false",
    ),
    Refused(
        "a tokenizer_config.json with NaN for a length",
        edited("tokenizer_config.json", lambda c: c | {"model_max_length": float("nan")}),
        "expected a whole number, at least 1",
    ),
    Refused(
        "tokens that were added beside the vocabulary",
        file("added_tokens.json", '{"<new>": 99}'),
        "has added tokens that vocab.json lacks",
    ),
    Refused("a head that is none", lambda b: _head(b, b.demo / "heads" / "upos"), "sequence_summary"),
    Refused("a head that is not there", lambda b: _head(b, b.folder / "nowhere"), "no such checkpoint directory"),
    Refused("a head of another width", _narrow_head, "made for a model of width 32, but the checkpoint's is 64"),
    Refused("a head that was trained over another trunk", _head_of_another_trunk, "trained with another trunk"),
    Harmless(
        "a vocab.json with gaps, and two tokens of one id",
        edited(
            VOCAB,
            lambda v: {
                **{token: i for token, i in v.items() if i < 200 or i % 7 or len(token) < 6},
                "two of one id": 20,
            },
        ),
    ),
    Harmless(
        "a merges.txt with lines that are no merges",
        own(lambda folder: (folder / MERGES).open("a", encoding="utf-8").write("one\n\na b c d e f\n\t\n")),
    ),
    Harmless("files that no checkpoint needs", file("evil.pkl", b"cos\nsystem\n(S'touch /tmp/x'\ntR.")),
]
