"""Configurations: the reference's defaults, and how each of its settings is handled."""

from dataclasses import fields

import pytest
import transformers

from xlm_core.checkpoint.config import XLMConfig
from xlm_core.errors import FatalError

# Fields of the reference that XLMConfig does not have, because they do not affect results in the reference either.
NO_EFFECT = {
    "transformers_version", "architectures",  # for information only
    "dtype",  # an argument of from_pretrained
    "chunk_size_feed_forward",  # computes the same sums in parts; see test_trunk.py
}  # fmt: skip
REFUSED = {"is_encoder_decoder"}  # because it describes another model

OLD = {  # written to every config.json by older versions of the reference
    "_num_labels": 2, "add_cross_attention": False, "attention_probs_dropout_prob": 0.1, "bad_words_ids": None,
    "begin_suppress_tokens": None, "chunk_size_feed_forward": 0, "cross_attention_hidden_size": None,
    "decoder_start_token_id": None, "diversity_penalty": 0.0, "do_sample": False, "early_stopping": False,
    "encoder_no_repeat_ngram_size": 0, "exponential_decay_length_penalty": None, "finetuning_task": None,
    "forced_bos_token_id": None, "forced_eos_token_id": None, "gradient_checkpointing": False,
    "is_decoder": False, "is_encoder_decoder": False, "length_penalty": 1.0, "max_length": 20, "min_length": 0,
    "no_repeat_ngram_size": 0, "num_beam_groups": 1, "num_beams": 1, "num_return_sequences": 1, "output_past": True,
    "output_scores": False, "prefix": None, "pruned_heads": {}, "remove_invalid_values": False,
    "repetition_penalty": 1.0, "return_dict_in_generate": False, "sep_token_id": None, "suppress_tokens": None,
    "task_specific_params": None, "temperature": 1.0, "tf_legacy_loss": False, "tie_encoder_decoder": False,
    "tokenizer_class": None, "top_k": 50, "top_p": 1.0, "torch_dtype": "float32", "torchscript": False,
    "typical_p": 1.0, "use_bfloat16": False, "use_cache": True, "_name_or_path": "",
}  # fmt: skip


def test_defaults_and_names_are_those_of_the_reference():
    theirs = transformers.XLMConfig().to_dict()
    ours = XLMConfig().to_dict()
    shared = ours.keys() & theirs.keys() - {"id2label", "label2id"}
    assert len(shared) > 28
    assert {name: ours[name] for name in shared} == {name: theirs[name] for name in shared}
    assert ours.keys() - theirs.keys() <= {"id2label", "label2id", "summary_last_dropout", "output_attentions"}


def test_every_setting_of_the_reference_is_supported_or_listed():
    theirs = {field.name for field in fields(transformers.XLMConfig)}
    ours = {field.name for field in fields(XLMConfig)}
    assert theirs - ours == NO_EFFECT | REFUSED


def test_configurations_of_older_versions_have_the_values_of_the_reference():
    config = XLMConfig.from_dict(transformers.XLMConfig(num_labels=3).to_dict() | OLD)
    theirs = transformers.XLMConfig(**(transformers.XLMConfig(num_labels=3).to_dict() | OLD))
    names = {field.name for field in fields(XLMConfig)}
    own = {name for name in names if not hasattr(theirs, name)}
    optional = {
        "asm_cutoffs",
        "asm_div_value",
        "lang2id",
        "id2lang",
        "score_temperature",
        "summary_layer",
        "trained_langs",
    }
    assert own == {"extra", "summary_last_dropout", *optional}
    for name in names - own:
        assert getattr(config, name) == getattr(theirs, name), name
    assert OLD.items() <= config.to_dict().items()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("is_decoder", True),
        ("is_encoder_decoder", True),
        ("add_cross_attention", True),
        ("pruned_heads", {"0": [1]}),
        ("per_layer_config", {"0": {"n_heads": 2}}),
        ("quantization_config", {"load_in_8bit": True}),
    ],
)
def test_settings_of_another_model_are_rejected(name, value):
    with pytest.raises(FatalError, match=f"configuration field {name}: got .*, expected (false|none)"):
        XLMConfig.from_dict({name: value})


def test_keys_of_id2lang_are_integers(tmp_path):
    """In the reference they remain strings, as in JSON."""
    transformers.XLMConfig(n_langs=2, lang2id={"en": 0, "de": 1}, id2lang={0: "en", 1: "de"}).save_pretrained(tmp_path)
    assert transformers.XLMConfig.from_pretrained(tmp_path).id2lang == {"0": "en", "1": "de"}
    assert XLMConfig.from_pretrained(tmp_path).id2lang == {0: "en", 1: "de"}
