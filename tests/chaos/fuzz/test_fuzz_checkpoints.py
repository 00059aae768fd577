"""Damaged files of a checkpoint load, or are rejected with an error message in plain lines."""

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.chaos.fuzz.error_messages import check_message
from tests.chaos.fuzz.mutations import SLOW_IF_THOROUGH, examples, mutated_bytes, mutated_json
from xlm_core import XLMConfig, XLMModel, XLMTokenizer, check_checkpoint
from xlm_core.errors import CheckpointError, TokenizerError

pytestmark = SLOW_IF_THOROUGH


@pytest.fixture(scope="module")
def with_file(checkpoint, folder) -> Callable[[str, bytes], Path]:
    """Return a function that replaces one file in a copy of the checkpoint, and returns the copy."""
    original = {path.name: path.read_bytes() for path in checkpoint.iterdir()}
    copy = folder / "checkpoint"
    shutil.copytree(checkpoint, copy)
    changed = set[str]()

    def write(name: str, data: bytes) -> Path:
        while changed:
            (copy / (other := changed.pop())).write_bytes(original[other])
        (copy / name).write_bytes(data)
        changed.add(name)
        return copy

    return write


def check_tokenizing(directory: Path) -> None:
    """Tokenize a text: the tokenizer is rejected with a message, or gives ids of its vocabulary."""
    try:
        tokenizer = XLMTokenizer.from_pretrained(directory, ja="fugashi")
        encoding = tokenizer.encode_batch(["Guten Morgen, a b c!"], [None])
    except (TokenizerError, CheckpointError) as error:
        check_message(error)
    else:
        assert set(encoding.input_ids.tolist()) <= set(tokenizer.vocab.values())


SMALL_VOCAB = {
    token: i for i, token in enumerate(["<s>", "</s>", "<pad>", "<unk>", "<special0>", "<special1>", "a</w>"])
}


@examples(150, 2_000)
@given(vocab=mutated_json(SMALL_VOCAB))
def test_vocabulary_of_any_values_tokenizes_or_is_rejected(with_file, vocab):
    check_tokenizing(with_file("vocab.json", json.dumps(vocab).encode()))


@examples(100, 2_000)
@given(
    data=mutated_bytes(
        json.dumps(SMALL_VOCAB).encode(), tokens=(b'"', b",", b"{", b"[", b"1e9", b"NaN", b"9" * 5_000, b"\\u")
    )
)
def test_vocabulary_of_any_bytes_tokenizes_or_is_rejected(with_file, data):
    check_tokenizing(with_file("vocab.json", data))


@examples(100, 2_000)
@given(
    data=mutated_bytes(
        b"t h 12\nth e</w> 7\na b\n", tokens=(b"\n", b" ", b"\xe2\x80\xa8", b"\xef\xbb\xbf", b"#version", b"\x00")
    )
)
def test_merges_of_any_bytes_tokenize_or_are_rejected(with_file, data):
    check_tokenizing(with_file("merges.txt", data))


@examples(150, 2_000)
@given(data=st.data())
def test_tokenizer_config_of_any_values_tokenizes_or_is_rejected(with_file, checkpoint, data):
    config = json.loads((checkpoint / "tokenizer_config.json").read_text(encoding="utf-8"))
    config |= {"model_max_length": 128, "additional_special_tokens": ["<special0>"], "padding_side": "left",
               "unk_token": {"content": "<unk>"}, "added_tokens_decoder": {"0": {"content": "<s>"}}}  # fmt: skip
    check_tokenizing(with_file("tokenizer_config.json", json.dumps(data.draw(mutated_json(config))).encode()))


@examples(200, 2_000)
@given(data=st.data())
def test_config_of_any_values_is_accepted_or_rejected(with_file, checkpoint, data):
    config = json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))
    directory = with_file("config.json", json.dumps(data.draw(mutated_json(config))).encode())
    try:
        XLMConfig.from_pretrained(directory)
        check_checkpoint(directory, "trunk")
    except CheckpointError as error:
        check_message(error, str(directory), max_lines=1)


@examples(120, 2_000)
@given(data=st.data())
def test_safetensors_header_of_any_values_loads_or_is_rejected(with_file, checkpoint, data):
    weights = (checkpoint / "model.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", weights[:8])
    header = data.draw(mutated_json(json.loads(weights[8 : 8 + length])))
    text = json.dumps(header).encode()
    size = data.draw(st.sampled_from([len(text)] * 8 + [0, 2**40, 2**64 - 1]))
    directory = with_file("model.safetensors", struct.pack("<Q", size) + text + weights[8 + length :])
    try:
        XLMModel.from_pretrained(directory)
    except CheckpointError as error:
        check_message(error, str(directory), max_lines=1)
