"""Checkpoints in the format of the original release of 2019."""

import json

import pytest
import torch
import transformers

from tests.fixtures.original_release import content_of, save_original
from tests.parity.reference_model import reference
from tests.xlm_core.checkpoint.checkpoint_files import load_error
from xlm_core import (
    XLMConfig,
    XLMModel,
    XLMTokenizer,
    XLMWithLMHeadModel,
)
from xlm_core.checkpoint.formats import open_weights
from xlm_core.errors import TokenizerError


def test_the_config_of_an_original_release_has_the_settings_of_its_training(tmp_path):
    model = reference(transformers.XLMModel, n_langs=1, gelu_activation=False, sinusoidal_embeddings=True)
    content = content_of(model, share_inout_emb=False, use_lang_emb=False, mask_index=7)
    config = XLMConfig.from_pretrained(save_original(content, tmp_path))
    assert (config.vocab_size, config.emb_dim, config.n_layers, config.n_heads) == (60, 32, 2, 4)
    assert (config.max_position_embeddings, config.sinusoidal_embeddings, config.gelu_activation) == (24, True, False)
    assert (config.n_langs, config.use_lang_emb, config.lang2id) == (1, False, {"de": 0})
    assert (config.mask_index, config.tie_word_embeddings, config.causal, config.asm) == (7, False, False, False)
    assert "exp_name" not in config.extra


def test_a_config_file_overrides_the_settings_of_an_original_release(original):
    settings = XLMConfig.from_pretrained(original).with_objective("causal").to_dict()
    (original / "config.json").write_text(json.dumps(settings))
    assert XLMWithLMHeadModel.from_pretrained(original).config.causal


def test_an_adaptive_softmax_keeps_its_clusters(tmp_path, content):
    softmax = torch.nn.AdaptiveLogSoftmaxWithLoss(32, 60, [20, 40], div_value=2.0, head_bias=True)
    state = {name: tensor for name, tensor in content["model"].items() if not name.startswith("pred_layer")}
    state |= {f"pred_layer.proj.{name}": tensor for name, tensor in softmax.state_dict().items()}
    params = content["params"] | {"asm": True, "asm_cutoffs": [20, 40], "asm_div_value": 2.0}
    directory = save_original(content | {"model": state, "params": params}, tmp_path)
    head = XLMWithLMHeadModel.from_pretrained(directory).head
    hidden = torch.randn(3, 32)
    assert torch.equal(head.log_probs(hidden), softmax.log_prob(hidden))


def test_the_tokenizer_of_an_original_release_needs_a_setting_of_lower_casing(original):
    message = load_error(original, XLMTokenizer.from_pretrained, TokenizerError)
    assert "does not record whether its training texts were lower-cased" in message
    assert "1 of its 60 tokens have capitals" in message
    assert XLMTokenizer.from_pretrained(original, lowercase=True).lowercase
    (original / "tokenizer_config.json").write_text('{"do_lowercase_and_remove_accent": false}')
    tokenizer = XLMTokenizer.from_pretrained(original)
    # h e is merged before l o</w>; he, l and lo</w> are the words 14, 15 and 18; l</w> is not in the vocabulary
    encoded = tokenizer.encode_batch(["hello B hel"], ["en"])
    assert encoded.input_ids.tolist() == [0, 14, 15, 18, 20, 14, 3, 1]
    assert tokenizer.lang2id == {"de": 0, "en": 1, "zh": 2}
    (original / "codes_more").write_text("a b 1\n")
    assert "expected one codes file" in load_error(original, XLMTokenizer.from_pretrained, TokenizerError)
    for codes in original.glob("codes*"):
        codes.unlink()
    assert "got none" in load_error(original, XLMTokenizer.from_pretrained, TokenizerError)


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
def test_other_releases_are_rejected(tmp_path, content, change, message):
    copy = {name: dict(value) if isinstance(value, dict) else value for name, value in content.items()}
    copy["model"] = dict(content["model"])
    change(copy)
    assert message in load_error(save_original(copy, tmp_path), XLMModel.from_pretrained)


def test_pickles_with_old_names_of_numpy_modules_load(tmp_path, content):
    directory = save_original(content, tmp_path, legacy=True)
    file = directory / "mlm_tiny.pth"
    data = file.read_bytes()
    assert b"cnumpy._core.multiarray\nscalar" in data
    file.write_bytes(data.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n"))
    assert open_weights(directory).shapes["embeddings.weight"] == (60, 32)
