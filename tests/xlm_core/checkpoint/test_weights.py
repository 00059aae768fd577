"""Which file of a directory is loaded, indexes of shards, original releases, and what each format refuses."""

import json

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from tests.fixtures.original_release import content_of, save_original
from tests.parity.reference_model import reference
from xlm_core import XLMConfig, XLMModel, XLMTokenizer, XLMWithLMHeadModel, content_hash
from xlm_core.checkpoint.files import needed_files
from xlm_core.checkpoint.formats import open_weights
from xlm_core.errors import CheckpointError, TokenizerError, format_value

FORMATS = {  # in order of preference, each with the files that it needs
    "model.safetensors": [],
    "model.safetensors.index.json": ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"],
    "pytorch_model.bin": [],
    "pytorch_model.bin.index.json": ["pytorch_model-00001-of-00001.bin"],
    "tf_model.h5": [],
    "mlm_en_2048.pth": ["codes_en"],
}


def refusal(directory, load=XLMModel.from_pretrained, error=CheckpointError) -> str:
    with pytest.raises(error) as caught:
        load(directory)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def sharded(tmp_path):
    reference(transformers.XLMModel).save_pretrained(tmp_path, max_shard_size="20KB")
    return tmp_path


@pytest.fixture(scope="module")
def content():
    return content_of(reference(transformers.XLMWithLMHeadModel))


@pytest.fixture
def original(tmp_path, content):
    return save_original(content, tmp_path / "original")


def test_the_files_of_one_format_are_needed_and_no_others():
    names = [name for first, others in FORMATS.items() for name in (first, *others)]
    names += ["README.md", "optimizer.pt", "config.json", "vocab.json", "merges.txt", "model-notes.txt"]
    for first, others in FORMATS.items():
        assert needed_files(names) == ["config.json", first, *others, "vocab.json", "merges.txt"]
        names = [name for name in names if name != first]
    assert needed_files(["README.md"]) == []
    assert needed_files(["a.pth", "b.pth", "config.json"]) == ["config.json"]  # which of them, nobody says


def edit_index(directory, change):
    file = directory / "model.safetensors.index.json"
    index = json.loads(file.read_text())
    change(index["weight_map"])
    file.write_text(json.dumps(index))


TOO_LONG = f"model-{'1' * 300}-of-2.safetensors"  # for any file system


@pytest.mark.parametrize(
    "place", ["../elsewhere.safetensors", "/etc/passwd", "model.safetensors", "", 7, None, TOO_LONG]
)
def test_a_shard_is_a_file_beside_its_index(sharded, place):
    edit_index(sharded, lambda weight_map: weight_map.update({"embeddings.weight": place}))
    message = refusal(sharded)
    assert len(message) < 500
    expected = "expected a file of the same directory, such as model-00001-of"
    assert f"weight_map: got {format_value(place)} for 'embeddings.weight', {expected}" in message


def test_index_and_shards_hold_the_same_tensors(sharded):
    shards = sorted(sharded.glob("model-*.safetensors"))
    first = load_file(shards[0])
    moved = next(iter(first))
    save_file({name: tensor for name, tensor in first.items() if name != moved}, shards[0])
    assert f"missing from their shards: {moved!r} of {shards[0].name}" in refusal(sharded)
    save_file(first | {"extra": torch.ones(1)}, shards[0])
    assert f"not listed there by the index: 'extra' of {shards[0].name}" in refusal(sharded)
    save_file(first, shards[0])
    save_file(load_file(shards[1]) | {moved: first[moved]}, shards[1])
    assert f"not listed there by the index: {moved!r} of {shards[1].name}" in refusal(sharded)


def test_a_missing_or_damaged_shard_is_named(sharded):
    shard = max(sharded.glob("model-*.safetensors"))
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-9])
    assert f"{shard}: cut off" in refusal(sharded)
    shard.unlink()
    assert f"lists the shard {shard.name}, which is missing" in refusal(sharded)
    shard.mkdir()
    assert f"{shard}: cannot be read: Is a directory" in refusal(sharded)


@pytest.mark.parametrize(
    "text", ["", "{", "\xff", "[]", "{}", '{"weight_map": {}}', '{"weight_map": [1]}', "[" * 100_000]
)
def test_an_index_that_is_none_is_refused(sharded, text):
    (sharded / "model.safetensors.index.json").write_text(text, encoding="latin-1")
    assert str(sharded / "model.safetensors.index.json") in refusal(sharded)


def test_the_hash_covers_every_shard_and_the_codes(sharded, original):
    for directory, file in ((sharded, min(sharded.glob("model-*.safetensors"))), (original, original / "codes_tiny")):
        before = content_hash(directory)
        (directory / "README.md").write_text("not part of it")
        assert content_hash(directory) == before
        data = bytearray(file.read_bytes())
        data[-2] ^= 1
        file.write_bytes(data)
        assert content_hash(directory) != before


def test_an_original_release_says_what_model_it_is(tmp_path):
    model = reference(transformers.XLMModel, n_langs=1, gelu_activation=False, sinusoidal_embeddings=True)
    content = content_of(model, share_inout_emb=False, use_lang_emb=False, mask_index=7)
    config = XLMConfig.from_pretrained(save_original(content, tmp_path))
    assert (config.vocab_size, config.emb_dim, config.n_layers, config.n_heads) == (60, 32, 2, 4)
    assert (config.max_position_embeddings, config.sinusoidal_embeddings, config.gelu_activation) == (24, True, False)
    assert (config.n_langs, config.use_lang_emb, config.lang2id) == (1, False, {"de": 0})
    assert (config.mask_index, config.tie_word_embeddings, config.causal, config.asm) == (7, False, False, False)
    assert "exp_name" not in config.extra


def test_a_config_beside_an_original_release_is_the_user_s_word(original):
    settings = XLMConfig.from_pretrained(original).with_objective("causal").to_dict()
    (original / "config.json").write_text(json.dumps(settings))
    assert XLMWithLMHeadModel.from_pretrained(original).config.causal


def test_an_original_adaptive_softmax_keeps_its_clusters(tmp_path, content):
    softmax = torch.nn.AdaptiveLogSoftmaxWithLoss(32, 60, [20, 40], div_value=2.0, head_bias=True)
    state = {name: tensor for name, tensor in content["model"].items() if not name.startswith("pred_layer")}
    state |= {f"pred_layer.proj.{name}": tensor for name, tensor in softmax.state_dict().items()}
    params = content["params"] | {"asm": True, "asm_cutoffs": [20, 40], "asm_div_value": 2.0}
    directory = save_original(content | {"model": state, "params": params}, tmp_path)
    head = XLMWithLMHeadModel.from_pretrained(directory).head
    hidden = torch.randn(3, 32)
    assert torch.equal(head.log_probs(hidden), softmax.log_prob(hidden))


def test_an_original_tokenizer_wants_to_be_told_of_lower_casing(original):
    message = refusal(original, XLMTokenizer.from_pretrained, TokenizerError)
    assert "does not record whether its training texts were lower-cased" in message
    assert "1 of its 60 tokens have capitals" in message
    (original / "tokenizer_config.json").write_text('{"do_lowercase_and_remove_accent": false}')
    tokenizer = XLMTokenizer.from_pretrained(original)
    # h e is merged before l o</w>; he, l and lo</w> are the words 14, 15 and 18; l</w> is none
    encoded = tokenizer.encode_batch(["hello B hel"], ["en"])
    assert encoded.input_ids.tolist() == [0, 14, 15, 18, 20, 14, 3, 1]
    assert tokenizer.lang2id == {"de": 0, "en": 1, "zh": 2}
    (original / "codes_more").write_text("a b 1\n")
    assert "expected one codes file" in refusal(original, XLMTokenizer.from_pretrained, TokenizerError)
    for codes in original.glob("codes*"):
        codes.unlink()
    assert "got none" in refusal(original, XLMTokenizer.from_pretrained, TokenizerError)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(encoder=c.pop("model")), "is a translation model, with an encoder and a decoder"),
        (lambda c: c.pop("params"), "with model, params and dico_word2id; params is missing"),
        (lambda c: c.update(dico_word2id=["a"]), "dico_word2id is not a dictionary"),
        (lambda c: c["params"].pop("n_heads"), "its params do not have n_heads"),
        (lambda c: c["params"].update(n_heads=5), "n_heads: got 5, expected a divisor of emb_dim 32"),
        (lambda c: c["params"].update(n_words=61), "embeddings.weight is [60, 32], expected [61, 32]"),
        (lambda c: c["params"].update(lang2id={"de": 9}), "lang2id: got {'de': 9}, expected ids from 0 to 2"),
        (lambda c: c["model"].pop("position_embeddings.weight"), "its model does not have position_embeddings.weight"),
        (
            lambda c: c["model"].update({"encoder_attn.0.q_lin.weight": torch.ones(32, 32)}),
            "unexpected 1: encoder_attn.0.q_lin.weight [32, 32]",
        ),
        (lambda c: c["dico_word2id"].update(x="y"), "dico_word2id: got 'y' as the id of 'x'"),
        (lambda c: c["model"].update(step=3), "got a int under 'step'"),
    ],
)
def test_what_is_no_original_language_model_is_refused(tmp_path, content, change, message):
    copy = {name: dict(value) if isinstance(value, dict) else value for name, value in content.items()}
    copy["model"] = dict(content["model"])
    change(copy)
    assert message in refusal(save_original(copy, tmp_path))


def test_old_pickles_name_numpy_s_modules_as_numpy_did(tmp_path, content):
    directory = save_original(content, tmp_path, legacy=True)
    file = directory / "mlm_tiny.pth"
    data = file.read_bytes()
    assert b"cnumpy._core.multiarray\nscalar" in data
    file.write_bytes(data.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n"))
    assert open_weights(directory).shapes["embeddings.weight"] == (60, 32)
