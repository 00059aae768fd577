"""Calling the tokenizer: properties beyond the reference's, and rejected arguments."""

import json
import pickle

import pytest
import torch

from xlm_core import TokenizerError, XLMModel, XLMTokenizer


@pytest.fixture(scope="module")
def tokenizer(checkpoint):
    return XLMTokenizer.from_pretrained(checkpoint)


def test_offsets_of_a_call_equal_those_of_encode_batch(tokenizer):
    texts, pairs = ["L'eau… coûte 3\u00a0%", "Où ?"], ["Déjà vu", "non"]
    encoding = tokenizer(texts, pairs, lang="fr", padding=True, return_offsets_mapping=True, return_tensors="pt")
    batch = tokenizer.encode_batch(texts, ["fr"] * 2, pairs)
    assert encoding.offset_mapping.shape == (*encoding.input_ids.shape, 2)
    for row, (start, end) in enumerate(zip(batch.cu_seqlens, batch.cu_seqlens[1:], strict=False)):
        expected = batch.offsets[start:end].clip(0).tolist()
        pads = [[0, 0]] * (encoding.input_ids.shape[1] - len(expected))
        assert encoding.offset_mapping[row].tolist() == expected + pads
        assert encoding.input_ids[row, : end - start].tolist() == batch.input_ids[start:end].tolist()


def test_each_text_has_its_own_language(tokenizer):
    texts = ["我们今天去北京大学。", "Mr. Smith said so.", "plain"]
    encoding = tokenizer(texts, lang=["zh-CN", "en", None], padding=True)
    for row, lang in enumerate(["zh", "en", None]):
        alone = tokenizer.encode_batch([texts[row]], [lang]).input_ids.tolist()
        assert encoding.input_ids[row][: len(alone)] == alone
        lang_id = -1 if lang is None else tokenizer.lang2id[lang]
        assert encoding.langs[row] == [lang_id] * len(alone) + [0] * (len(encoding.langs[row]) - len(alone))
    for rows in (texts, texts[0]):  # the keys depend on the checkpoint, never on the rows
        assert tokenizer(rows, lang=None).keys() == encoding.keys()
    without = XLMTokenizer(tokenizer.vocab, tokenizer.merges)
    assert "langs" not in without(texts, lang="en")


@pytest.mark.parametrize("codes", [(None, "en"), ("en", None)])
def test_padding_keeps_the_language_of_each_row(tokenizer, codes):
    texts = ["a b c", "d"]
    rows = [tokenizer(text, lang=code) for text, code in zip(texts, codes, strict=True)]
    assert tokenizer.pad(rows) == tokenizer(texts, lang=codes, padding=True)
    del rows[1]["langs"]
    with pytest.raises(ValueError, match="pad: row 1 has input_ids, attention_mask, expected input_ids, attention_"):
        tokenizer.pad(rows)


@pytest.mark.parametrize(("texts", "num_rows"), [([], 0), ([""], 1), (["", ""], 2)])
def test_rows_without_tokens_give_empty_arrays(tokenizer, texts, num_rows):
    options = {"return_tensors": "pt", "return_offsets_mapping": True, "return_special_tokens_mask": True}
    found = tokenizer(texts, lang="en", add_special_tokens=False, **options)
    assert {key: list(value.shape) for key, value in found.items()} == {
        **{key: [num_rows, 0] for key in ("input_ids", "attention_mask", "langs", "special_tokens_mask")},
        "offset_mapping": [num_rows, 0, 2],
    }
    assert {value.dtype for value in found.values()} == {torch.int64}


def test_a_model_accepts_the_result_of_a_call(tokenizer, checkpoint):
    model = XLMModel.from_pretrained(checkpoint)
    texts = ["Das Haus ist alt und steht am See.", "Ja."]
    batch = model(**tokenizer(texts, lang="de", padding=True, return_tensors="pt")).last_hidden_state
    for row, text in enumerate(texts):
        alone = model(**tokenizer(text, lang="de", return_tensors="pt")).last_hidden_state
        torch.testing.assert_close(batch[row, : alone.shape[1]], alone[0], atol=2e-5, rtol=0)


def test_overflowing_tokens_are_returned_with_their_row(tokenizer):
    encoding = tokenizer(["a b c d e f", "a"], lang="en", max_length=5, stride=1, return_overflowing_tokens=True)
    full = tokenizer("a b c d e f", lang="en").input_ids
    assert encoding.overflowing_tokens == [full[3:-1], []]
    assert encoding.num_truncated_tokens == [3, 0]


def test_encodings_are_dictionaries_with_attributes(tokenizer):
    encoding = tokenizer("a b", lang="en", return_tensors="pt")
    assert encoding.to("cpu") is encoding
    assert encoding["input_ids"] is encoding.input_ids
    assert set({**encoding}) == {"input_ids", "attention_mask", "langs"}
    with pytest.raises(AttributeError, match="has no offsets; its keys are input_ids, attention_mask, langs"):
        encoding.offsets  # noqa: B018
    assert tokenizer([], lang="en")["input_ids"] == []
    assert tokenizer.pad([], return_tensors="np").input_ids.shape == (0, 0)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (["a"], {"lang": "tlh"}, "lang: 'tlh' is not in the checkpoint's lang2id"),
        ([["a", "b"]], {"lang": ["en"]}, "lang: expected one code, or one for each of 2 rows, got 1"),
        ([["a", "b"], ["c"]], {}, "text_pair: expected one text for each of 2 rows, got 1"),
        ([["a", "b"], "cd"], {}, "text_pair: got one string, expected a list with one text for each of 2 rows"),
        ([["a", ["b"]]], {}, r"expected strings .* row 1 is a list"),
        (["a"], {"is_split_into_words": True}, "expected lists of words, but row 0 is a str"),
        (["a"], {"truncation": True}, "truncation needs max_length: this checkpoint has no model_max_length"),
        (["a"], {"padding": "max_length"}, "padding needs max_length"),
        (["a"], {"padding": "most"}, "padding: got 'most', expected True, False or one of longest, max_length"),
        (["a"], {"truncation": "only"}, "truncation: got 'only', expected True, False or one of longest_first"),
        (["a"], {"max_length": 2, "truncation": "only_second"}, "there is no second text"),
        (["a"], {"max_length": 1}, "has to remove 2 tokens"),
        (["a", "b"], {"max_length": 2}, r"has to remove 3 tokens, but the texts have 2"),
        (["a", "b"], {"max_length": 4, "return_overflowing_tokens": True}, "for pairs, set truncation to 'only_first'"),
        (["a"], {"return_overflowing_tokens": True, "return_tensors": "pt"}, "omit return_tensors"),
        (["a"], {"padding": True, "padding_side": "up"}, "padding_side: got 'up', expected one of right, left"),
        (["a"], {"return_tensors": "tf"}, "return_tensors: got 'tf', expected one of pt, np"),
        (["a"], {"padding": True, "pad_to_multiple_of": 0}, "pad_to_multiple_of: got 0, expected at least 1"),
        (["a"], {"padding": True, "pad_to_multiple_of": -3}, "pad_to_multiple_of: got -3"),
        (["a"], {"stride": -1}, "stride: got -1, expected at least 0"),
        ([["a", "b c d"]], {"return_tensors": "np"}, "input_ids: sequences have 3 to 5 tokens"),
    ],
)
def test_invalid_arguments_are_named(tokenizer, arguments, options, message):
    with pytest.raises(ValueError, match=message) as caught:
        tokenizer(*arguments, **{"lang": "en", **options})
    assert "\n" not in str(caught.value)


def test_the_language_is_a_required_argument(tokenizer):
    with pytest.raises(TypeError, match="lang"):
        tokenizer("a")


def test_lengths_and_padding_side_default_to_the_checkpoint(checkpoint, tmp_path):
    for file in ("vocab.json", "merges.txt"):
        (tmp_path / file).write_bytes((checkpoint / file).read_bytes())
    settings = {"model_max_length": 4, "padding_side": "left"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    tokenizer = XLMTokenizer.from_pretrained(tmp_path)
    encoding = tokenizer(["a b c d", "a"], lang=None, truncation=True, padding="max_length")
    assert [len(ids) for ids in encoding.input_ids] == [4, 4]
    assert encoding.attention_mask == [[1, 1, 1, 1], [0, 1, 1, 1]]


def test_special_tokens_must_be_in_the_vocabulary(tokenizer):
    with pytest.raises(TokenizerError, match="does not have mask_token '<MASK>'"):
        tokenizer.set_special_tokens(mask_token="<MASK>")
    with pytest.raises(ValueError, match="no special token has the role mask; roles are unk_token"):
        tokenizer.set_special_tokens(mask="<special1>")
    assert tokenizer.mask_token == "<special1>"


def test_changed_special_tokens_are_not_produced_by_texts_and_survive_pickling(checkpoint):
    tokenizer = XLMTokenizer.from_pretrained(checkpoint)
    tokenizer.set_special_tokens(unk_token="un</w>", eos_token="</s>")
    again = pickle.loads(pickle.dumps(tokenizer))
    assert (again.unk_token_id, again.eos_token_id) == (tokenizer.vocab["un</w>"], 1)
    assert again.encode_batch(["😀 a"], ["en"]).num_unknown.tolist() == [1]
