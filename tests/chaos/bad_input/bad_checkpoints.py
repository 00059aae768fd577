"""Checkpoints with a file that is missing, damaged, malicious, or part of another model."""

import os
import struct

import torch

from tests.chaos.bad_input.bad_job_files import set_value
from tests.chaos.bad_input.checkpoint_changes import (
    change_checkpoint,
    change_header,
    change_shapes_and_names,
    change_tensors,
    edit_json,
    edit_lines,
    negate_ids,
    overlap_tensors,
    remove_file,
    replace_by_fifo,
    set_head,
    use_head_of_other_trunk,
    use_narrow_head,
    use_other_vocabulary,
    write_file,
    write_pickle,
)
from tests.chaos.bad_input.outcomes import Harmless, Refused

VOCAB, MERGES, CONFIG, WEIGHTS = "vocab.json", "merges.txt", "config.json", "model.safetensors"

CHECKPOINTS: list[Refused | Harmless] = [
    Refused(
        "a missing checkpoint",
        lambda b: b.set("model.checkpoint", f"{b.folder}/nowhere"),
        "nowhere: no such checkpoint directory",
    ),
    Refused(
        "a file as the checkpoint",
        lambda b: b.set("model.checkpoint", str(b.corpus / "a.parquet")),
        "a.parquet: no such checkpoint directory",
    ),
    Refused(
        "an empty directory as the checkpoint", lambda b: b.set("model.checkpoint", str(b.corpus)), "has no config.json"
    ),
    Refused(
        "a checkpoint in the memory of one process",
        set_value("model.checkpoint", "memory://nowhere"),
        "no such directory, or no files in it",
    ),
    Refused(
        "an invalid name on the hub",
        set_value("model.checkpoint", "hf://a"),
        "not a valid hub URL; write hf://org/name",
    ),
    *(
        Refused(
            f"a missing {name}",
            remove_file(name),
            "checkpoint: " if name != MERGES else "merges.txt: no merge table here",
        )
        for name in (CONFIG, WEIGHTS, VOCAB, MERGES)
    ),
    *(
        Refused(f"an empty {name}", write_file(name, ""), f"checkpoint/{name}: ")
        for name in (CONFIG, WEIGHTS, VOCAB, MERGES)
    ),
    *(
        Refused(f"a web page as {name}", write_file(name, "<!doctype html><title>404</title>"), f"checkpoint/{name}: ")
        for name in (CONFIG, WEIGHTS, VOCAB, MERGES)
    ),
    *(
        Refused(f"a FIFO as {name}", replace_by_fifo(name), f"checkpoint/{name}: ")
        for name in (CONFIG, WEIGHTS, VOCAB, MERGES)
    ),
    *(
        Refused(
            f"a directory as {name}",
            change_checkpoint(lambda folder, name=name: ((folder / name).unlink(), (folder / name).mkdir())),
            f"checkpoint/{name}: cannot be read",
        )
        for name in (CONFIG, WEIGHTS, VOCAB, MERGES)
    ),
    Refused(
        "a config.json of another model family",
        edit_json(CONFIG, lambda c: c | {"model_type": "bert"}),
        "of another family",
    ),
    Refused("a config.json that is a list", write_file(CONFIG, "[]"), "expected a JSON object, got list"),
    Refused(
        "a config.json with 100,000 opening brackets", write_file(CONFIG, '{"a":' + "[" * 100_000), "not valid JSON"
    ),
    Refused(
        "a config.json with a number of 10,000 digits",
        write_file(CONFIG, '{"emb_dim": ' + "9" * 10_000 + "}"),
        "not valid JSON",
    ),
    Refused("a config.json with NaN", edit_json(CONFIG, lambda c: c | {"dropout": float("nan")}), "dropout"),
    Refused(
        "a config.json with text instead of a number", edit_json(CONFIG, lambda c: c | {"n_layers": "2"}), "n_layers"
    ),
    Refused(
        "a width that is not divisible by the number of heads",
        edit_json(CONFIG, lambda c: c | {"n_heads": 7}),
        "a divisor of emb_dim",
    ),
    Refused(
        "10^12 layers",
        edit_json(CONFIG, lambda c: c | {"n_layers": 10**12}),
        "too few for the 1000000000000",
    ),
    Refused(
        "a vocabulary of 10^12 tokens",
        edit_json(CONFIG, lambda c: c | {"n_words": 10**12, "vocab_size": 10**12}),
        "embeddings.weight",
    ),
    Refused(
        "10^12 labels",
        edit_json(CONFIG, lambda c: {k: v for k, v in c.items() if "label" not in k} | {"num_labels": 10**12}),
        "num_labels",
    ),
    Refused("a language id that is too large", edit_json(CONFIG, lambda c: c | {"lang2id": {"en": 10_000}}), "lang2id"),
    Refused(
        "truncated weights",
        change_checkpoint(lambda folder: os.truncate(folder / WEIGHTS, 5_000)),
        "cut off, or not a safetensors",
    ),
    Refused(
        "weights without their last byte",
        change_checkpoint(lambda folder: os.truncate(folder / WEIGHTS, (folder / WEIGHTS).stat().st_size - 1)),
        "cut off, or not a safetensors file",
    ),
    Refused(
        "weights that are a Git LFS pointer",
        write_file(WEIGHTS, "version https://git-lfs.github.com/spec/v1\n"),
        "is a Git LFS pointer",
    ),
    Refused(
        "weights that are NaN",
        change_tensors(lambda held: held["transformer.embeddings.weight"][7].fill_(torch.nan)),
        "weights are NaN or infinite",
    ),
    Refused("weights with other shapes and names", change_tensors(change_shapes_and_names), "missing 1"),
    Refused(
        "weights that are integers",
        change_tensors(lambda held: held.update({name: tensor.to(torch.int32) for name, tensor in held.items()})),
        "expected floating point",
    ),
    Refused(
        "a header longer than the weights", write_file(WEIGHTS, struct.pack("<Q", 2**60) + b"{}"), "cut off, or not"
    ),
    Refused("a header in which tensors overlap", change_header(overlap_tensors), "cut off, or not a safetensors file"),
    Refused(
        "a header with a tensor outside the file",
        change_header(
            lambda held: held | {"more": {"dtype": "F32", "shape": [4], "data_offsets": [2**40, 2**40 + 16]}}
        ),
        "cut off, or not a safetensors",
    ),
    Refused(
        "a pickle in a .bin that would run code", write_pickle("pytorch_model.bin"), "its pickle would call posix.mkdir"
    ),
    Refused(
        "a bare pickle for a .bin that would run code",
        write_pickle("pytorch_model.bin", bare=True),
        "would call posix.mkdir",
    ),
    Refused("a pickle in a .pth that would run code", write_pickle("mlm.pth"), "its pickle would call posix.mkdir"),
    Refused("a vocab.json that is a list", write_file(VOCAB, '["<s>", "</s>"]'), "expected a JSON object, got list"),
    Refused("a vocab.json without special tokens", write_file(VOCAB, '{"a</w>": 0}'), "vocab.json does not have"),
    Refused(
        "a vocab.json with fractions as ids", edit_json(VOCAB, lambda v: v | {"a": 1.5}), "whole-number id, from 0"
    ),
    Refused("a vocab.json with text as ids", edit_json(VOCAB, lambda v: v | {"a": "1"}), "whole-number id, from 0"),
    Refused("a vocab.json with true as an id", edit_json(VOCAB, lambda v: v | {"a": True}), "whole-number id, from 0"),
    Refused("a vocab.json with negative ids", edit_json(VOCAB, negate_ids), "whole-number id, from 0"),
    Refused("a vocab.json with huge ids", edit_json(VOCAB, lambda v: v | {"a": 2**70}), "whole-number id, from 0"),
    Refused(
        "a vocab.json larger than the model",
        edit_json(VOCAB, lambda v: v | {"newcomer": 99_999}),
        "has ids up to 99999",
    ),
    Refused("a vocab.json of another model", use_other_vocabulary, "builds none of"),
    Refused("a vocab.json with one id for two tokens", edit_json(VOCAB, lambda v: v | {"x</w>": 20}), "id 20 is given"),
    Refused("a vocab.json with one token twice", write_file(VOCAB, '{"a": 0, "a": 1}'), "'a' occurs twice"),
    Refused(
        "a vocab.json without half of its tokens",
        edit_json(VOCAB, lambda v: {token: i for token, i in v.items() if i < 1400}),
        "vocab.json has 1,400 tokens, but the model has",
    ),
    Refused("a vocab.json in Latin-1", write_file(VOCAB, '{"é": 1}'.encode("latin-1")), "vocab.json: not valid JSON"),
    Refused("a merges.txt without merges", write_file(MERGES, "\n\n\n"), "holds no merges"),
    Refused("a merges.txt in alphabetical order", edit_lines(MERGES, sorted), "lines that are no merges"),
    Refused("a merges.txt without its second half", edit_lines(MERGES, lambda m: m[: len(m) // 2]), "builds none of"),
    Refused("a merges.txt in another encoding", write_file(MERGES, "é t\n".encode("latin-1")), "not UTF-8 at byte 0"),
    Refused(
        "a merges.txt with a byte order mark", write_file(MERGES, "\ufefft h 12\n"), "begins with a byte order mark"
    ),
    Refused(
        "a tokenizer_config.json with text instead of true",
        edit_json("tokenizer_config.json", lambda c: c | {"do_lowercase_and_remove_accent": "false"}),
        "expected true or false",
    ),
    Refused(
        "a tokenizer_config.json with NaN as a length",
        edit_json("tokenizer_config.json", lambda c: c | {"model_max_length": float("nan")}),
        "expected a whole number, at least 1",
    ),
    Refused(
        "added tokens that are not in the vocabulary",
        write_file("added_tokens.json", '{"<new>": 99}'),
        "has added tokens that are not in vocab.json",
    ),
    Refused(
        "a head of another kind", lambda b: set_head(b, b.demo / "heads" / "upos"), "no sequence-classification head"
    ),
    Refused(
        "a checkpoint that identifies languages without a head for it",
        lambda b: b.settings["input"].update(lang={"detect": str(b.demo / "checkpoint")}),
        "contains a language-modeling head, but no sequence-classification head",
    ),
    Refused(
        "a head whose labels are no languages",
        lambda b: b.settings["input"].update(
            lang={"detect": str(b.demo / "checkpoint"), "head": str(b.demo / "heads" / "topic")}
        ),
        "are not language codes (food, news, science, sport, travel …); name a head that identifies languages",
    ),
    Refused("a missing head", lambda b: set_head(b, b.folder / "nowhere"), "no such checkpoint directory"),
    Refused("a head for another width", use_narrow_head, "made for a model of width 32, but the checkpoint's is 64"),
    Refused("a head trained with another trunk", use_head_of_other_trunk, "trained with another trunk"),
    Harmless(
        "a vocab.json with gaps",
        edit_json(VOCAB, lambda v: {t: i for t, i in v.items() if i < 200 or i % 10 or t.isascii()}),
    ),
    Harmless(
        "a merges.txt with lines that are not merges",
        change_checkpoint(
            lambda folder: (folder / MERGES).open("a", encoding="utf-8").write("one\n\na b c d e f\n\t\n")
        ),
    ),
    Harmless("files that a checkpoint does not need", write_file("evil.pkl", b"cos\nsystem\n(S'touch /tmp/x'\ntR.")),
]
