"""Read, check and write configurations."""

import json
import math
import pickle
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xlm_core.checkpoint.config import XLMConfig
from xlm_core.checkpoint.config_json import ALIASES
from xlm_core.errors import CheckpointError, FatalError

OLD = {  # as exported by the research code of 2019: no model_type, no *_token_id
    "same_enc_dec": True,
    "emb_dim": 1024,
    "n_layers": 12,
    "n_heads": 8,
    "gelu_activation": True,
    "n_langs": 15,
    "lang2id": {"ar": 0, "bg": 1, "zh": 14},
    "id2lang": {"0": "ar", "1": "bg", "14": "zh"},
    "n_words": 95000,
    "max_vocab": 95000,
    "pad_index": 2,
}


def test_a_configuration_can_be_pickled_and_replaced():
    config = XLMConfig.from_dict(OLD)
    assert pickle.loads(pickle.dumps(config)) == config
    assert replace(config, n_layers=3).n_layers == 3


def test_integers_in_float_fields_are_written_back_as_integers():
    assert json.dumps(XLMConfig.from_dict({"dropout": 0}).to_dict()["dropout"]) == "0"


def test_an_old_config_is_read():
    config = XLMConfig.from_dict(OLD)
    assert (config.vocab_size, config.emb_dim, config.head_dim, config.n_langs) == (95000, 1024, 128, 15)
    assert config.id2lang == {0: "ar", 1: "bg", 14: "zh"}
    assert config.has_lang_embeddings
    assert config.extra == {"same_enc_dec": True, "max_vocab": 95000}
    assert config.id2label == {0: "LABEL_0", 1: "LABEL_1"}


@pytest.mark.parametrize(("alias", "name"), ALIASES.items())
def test_every_alias_sets_its_field(alias, name):
    config = XLMConfig.from_dict({"emb_dim": 64, alias: 32} if name != "emb_dim" else {alias: 32})
    assert getattr(config, name) == 32
    assert config.extra == {}


def test_two_names_of_a_field_must_have_the_same_value():
    assert XLMConfig.from_dict({"n_words": 7, "vocab_size": 7}).vocab_size == 7
    with pytest.raises(FatalError, match=r"n_words: got 8, expected 7, the value of vocab_size"):
        XLMConfig.from_dict({"n_words": 8, "vocab_size": 7})


def test_num_labels_alone_gives_default_labels():
    config = XLMConfig.from_dict({"num_labels": 3})
    assert config.id2label == {0: "LABEL_0", 1: "LABEL_1", 2: "LABEL_2"}
    assert config.label2id == {"LABEL_0": 0, "LABEL_1": 1, "LABEL_2": 2}
    assert config.num_labels == 3


def test_string_keys_of_labels_become_integers():
    config = XLMConfig.from_dict({"id2label": {"1": "no", "0": "yes"}, "num_labels": 2, "label2id": None})
    assert config.id2label == {0: "yes", 1: "no"}
    assert config.label2id == {"yes": 0, "no": 1}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"model_type": "bert"}, "model_type: got 'bert', expected 'xlm'"),
        ({"n_heads": "eight"}, "n_heads: got 'eight', expected a valid integer"),
        ({"n_layers": True}, "n_layers: got True, expected a valid integer"),
        ({"n_layers": 2.5}, "n_layers: got 2.5, expected a valid integer"),
        ({"n_layers": 0}, "n_layers: got 0, expected at least 1"),
        ({"causal": 1}, "causal: got 1, expected a valid boolean"),
        ({"dropout": "0.1"}, "dropout: got '0.1', expected a valid number"),
        ({"dropout": 1.0}, "dropout: got 1.0, expected at least 0 and below 1"),
        ({"emb_dim": 100, "n_heads": 3}, "n_heads: got 3, expected a divisor of emb_dim 100"),
        ({"n_heads": 0}, "n_heads: got 0, expected at least 1"),
        ({"is_encoder": False}, "is_encoder: got False, expected true"),
        ({"summary_type": "attn"}, "summary_type: got 'attn', expected first, last, mean or cls_index"),
        ({"summary_type": "max"}, "summary_type: got 'max', expected 'first', 'last', 'mean' or 'cls_index'"),
        ({"summary_activation": "quux"}, "summary_activation: got 'quux', expected 'tanh', .* or null"),
        ({"pad_token_id": 30145}, r"pad_token_id: got 30145, expected 0 to 30144 \(vocab_size is 30145\)"),
        ({"pad_token_id": -1}, r"pad_token_id: got -1, expected 0 to 30144"),
        ({"id2label": {"a": "x"}}, "id2label: got .*, expected integer keys"),
        ({"id2label": ["x"]}, "id2label: got .*, expected a valid dictionary"),
        ({"id2label": {"1": "x"}}, "id2label: got .*, expected keys 0, 1, 2"),
        ({"id2label": {"0": "x"}, "num_labels": 2}, "num_labels: got 2, expected 1"),
        ({"num_labels": "2"}, "num_labels: got '2', expected an integer"),
        ({"n_langs": 2, "lang2id": {"en": 2}}, "lang2id: got .*, expected ids from 0 to 1"),
        ({"lang2id": [1]}, "lang2id: got .*, expected a valid dictionary or null"),
        ({"eos_token_id": "x"}, "eos_token_id: got 'x', expected a valid integer or a valid list or null"),
        ({"lang2id": {"en": "0"}}, "lang2id: got .*, expected a valid integer at 'en'"),
        ({"num_labels": 1, "problem_type": "single_label_classification"}, "problem_type: got .*, expected regr"),
        ({"problem_type": "ranking"}, "problem_type: got 'ranking', expected 'regression'"),
        ({"layer_norm_eps": 0}, "layer_norm_eps: got 0, expected above 0"),
        ({"output_attentions": "yes"}, "output_attentions: got 'yes', expected a valid boolean or null"),
        ({"asm": True}, "asm_cutoffs: got None, expected increasing, from 1 to 30144, if asm is true"),
        ({"asm": True, "asm_cutoffs": [], "asm_div_value": 4}, r"asm_cutoffs: got \[\], expected increasing"),
        ({"asm": True, "asm_cutoffs": [20, 10], "asm_div_value": 4}, r"asm_cutoffs: got \[20, 10\], expected incr"),
        ({"asm": True, "asm_cutoffs": [10, 10], "asm_div_value": 4}, r"asm_cutoffs: got \[10, 10\], expected incr"),
        ({"asm": True, "asm_cutoffs": [0, 10], "asm_div_value": 4}, r"asm_cutoffs: got \[0, 10\], expected incr"),
        ({"asm": True, "asm_cutoffs": [30145], "asm_div_value": 4}, r"asm_cutoffs: got \[30145\], expected incr"),
        ({"asm": True, "asm_cutoffs": [10]}, "asm_div_value: got None, expected a number from 1 to"),
        ({"asm": True, "asm_cutoffs": [10], "asm_div_value": 0}, "asm_div_value: got 0, expected a number from 1 to"),
        (
            {"asm": True, "asm_cutoffs": [10], "asm_div_value": 1e200},
            "asm_div_value: got 1e[+]200, expected a number f",
        ),
        ({"init_std": -1.0}, "init_std: got -1.0, expected from 0 to 1e6"),
        ({"embed_init_std": math.nan}, "embed_init_std: got nan, expected from 0 to 1e6"),
        ({"layer_norm_eps": math.inf}, "layer_norm_eps: got inf, expected above 0 and below 1"),
        ({"start_n_top": 10**9}, "start_n_top: got 1000000000, expected from 1 to 1000"),
        ({"max_position_embeddings": 10**9, "sinusoidal_embeddings": True}, "max_position_embeddings: got 1000000000"),
        ({"num_labels": 10**12}, "num_labels: got 1000000000000, expected at most 100000 without id2label"),
        ({"num_labels": 10**12, "id2label": {"0": "x"}}, "num_labels: got 1000000000000, expected 1, the number of"),
        ({"num_labels": 2, "id2label": 5}, "id2label: got 5, expected a valid dictionary"),
        ({"id2lang": {"00": "x"}}, "id2lang: got .*, expected integer keys, each once"),
        ({"id2lang": {" 1": "x"}}, "id2lang: got .*, expected integer keys, each once"),
        ({"id2lang": {"1_0": "x"}}, "id2lang: got .*, expected integer keys, each once"),
        ({"id2label": {"0": "x", 0: "y"}}, "id2label: got .*, expected integer keys, each once"),
        ({"problem_type": "x" * 10**6}, r"problem_type: got 'x+\.\.\.x+', expected 'regression'"),
        ({"is_decoder": True}, "is_decoder: got True, expected false .* a left-to-right model sets causal: true"),
        ({"pruned_heads": {"0": [1]}}, "pruned_heads: got .*, expected none"),
    ],
)
def test_invalid_fields_are_rejected_in_one_line(values, message):
    with pytest.raises(FatalError, match=message) as caught:
        XLMConfig.from_dict(values)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_language_ids_are_unchecked_without_language_embeddings():
    assert XLMConfig.from_dict({"n_langs": 17, "use_lang_emb": False, "lang2id": {"x": 99}}).n_langs == 17


def test_the_objective_can_be_changed():
    released = XLMConfig.from_dict(OLD)  # causal checkpoints have causal: false too
    assert not released.causal
    causal = released.with_objective("causal")
    assert causal.causal
    assert causal.with_objective("masked") == released
    with pytest.raises(ValueError, match="objective: got 'clm', expected one of causal, masked"):
        released.with_objective("clm")


def test_adaptive_softmax_settings_are_read_and_written():
    config = XLMConfig.from_dict({"asm": True, "asm_cutoffs": [8000, 20000], "asm_div_value": 4})
    assert config.asm_cutoffs == [8000, 20000]
    assert config.to_dict().items() >= {"asm": True, "asm_cutoffs": [8000, 20000], "asm_div_value": 4}.items()
    assert XLMConfig.from_dict({"asm_cutoffs": [99999]}).asm_cutoffs == [99999]  # has no effect while asm is false


def test_the_constructor_checks_values():
    with pytest.raises(FatalError, match="n_heads"):
        XLMConfig(emb_dim=10, n_heads=4)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "has no config.json"),
        (b"{", "not valid JSON"),
        (b"\xff\xfe", "not valid JSON"),
        (b"[1]", "expected a JSON object, got list"),
        (b'{"a": ' + b"[" * 100_000, "not valid JSON"),
        (b'{"vocab_size": ' + b"9" * 5000 + b"}", "not valid JSON"),
        (b'{"n_heads": null}', "n_heads: got None, expected a valid integer"),
        (b'{"model_type": "xlm-roberta"}', "model_type"),
    ],
)
def test_unreadable_files_are_named(tmp_path, content, message):
    if content is not None:
        (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(CheckpointError, match=message) as caught:
        XLMConfig.from_pretrained(tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_directory_is_named(tmp_path):
    with pytest.raises(CheckpointError, match="no such checkpoint directory"):
        XLMConfig.from_pretrained(tmp_path / "FacebookAI/xlm-mlm-en-2048")


labels = st.lists(st.text(min_size=1), min_size=1, max_size=4, unique=True)
configs = st.builds(
    XLMConfig,
    n_heads=st.sampled_from([1, 2, 4]),
    emb_dim=st.sampled_from([8, 16]),
    n_langs=st.integers(3, 9),
    causal=st.booleans(),
    output_attentions=st.booleans(),
    return_dict=st.booleans(),
    asm_cutoffs=st.none() | st.just([8, 20]),
    dropout=st.floats(0, 0.9),
    summary_type=st.sampled_from(["first", "last", "mean", "cls_index"]),
    summary_activation=st.sampled_from([None, "tanh"]),
    eos_token_id=st.sampled_from([None, 1, [1, 3]]),
    lang2id=st.none() | st.dictionaries(st.text(), st.integers(0, 2)),
    id2lang=st.none() | st.dictionaries(st.integers(0, 99), st.text()),
    trained_langs=st.none() | st.lists(st.text()),
    id2label=labels.map(lambda names: dict(enumerate(names))),
    extra=st.dictionaries(st.sampled_from(["same_enc_dec", "torch_dtype", "max_vocab"]), st.integers() | st.none()),
)


@given(configs)
def test_a_written_configuration_reads_back_equal(config):
    assert XLMConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_every_field_is_written_under_its_own_name():
    written = XLMConfig.from_dict(OLD).to_dict()
    optional = {"extra", "asm_cutoffs", "asm_div_value", "score_temperature", "summary_layer", "trained_langs"}
    names = {f.name for f in fields(XLMConfig)} - optional
    assert names <= written.keys()
    assert written["model_type"] == "xlm"
    assert not ALIASES.keys() & written.keys()
