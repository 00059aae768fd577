"""The tokenizer's public interface, compared with the reference's, which segments all texts as English."""

import itertools
import json
import random
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from xlm_core import XLMTokenizer

transformers.logging.set_verbosity_error()
pytestmark = pytest.mark.filterwarnings("ignore:`max_length` is ignored")

TEXTS = [
    "Mr. Smith's dog won't eat 3.50% of it, will he?",
    "",
    "unhappily…",
    "The quick brown fox jumps over the lazy dog, again and again and again.",
]
PAIRS = ["a question?", "Nothing stands before this.", "", "and an answer that has some length to it"]
ROLES = ["bos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token", "eos_token"]


@pytest.fixture(scope="module")
def ours(demo: Path) -> XLMTokenizer:
    return XLMTokenizer.from_pretrained(demo / "checkpoint", zh="rjieba")


@pytest.fixture(scope="module")
def reference(demo: Path) -> Any:
    return transformers.XLMTokenizer.from_pretrained(demo / "checkpoint")


def without_langs(encoding: Any) -> dict[str, Any]:
    """Convert an encoding to lists, without language ids, which the reference does not return."""
    return {k: v.tolist() if hasattr(v, "tolist") else v for k, v in encoding.items() if k != "langs"}


@pytest.mark.parametrize("kind", [None, "pt", "np"])
@pytest.mark.parametrize(
    ("padding", "truncation", "max_length"),
    [
        (True, None, None),
        ("longest", True, 12),
        ("max_length", False, 60),
        ("max_length", "longest_first", 9),
        ("max_length", None, 6),
        (True, None, 6),
    ],
)
@pytest.mark.parametrize("pairs", [False, True])
def test_padded_batches_equal_the_reference(ours, reference, parity, pairs, padding, truncation, max_length, kind):
    options = {"padding": padding, "truncation": truncation, "max_length": max_length, "return_tensors": kind}
    options |= {"return_special_tokens_mask": True, "return_token_type_ids": True, "return_length": True}
    for side, multiple in itertools.product(("right", "left"), (None, 1 if truncation else 8)):
        options |= {"padding_side": side, "pad_to_multiple_of": multiple}
        second = PAIRS if pairs else None
        if kind is not None and padding == "max_length" and truncation is None:  # longer than the padded length
            with pytest.raises(ValueError, match=r"sequences have \d+ to \d+ tokens, but an array"):
                ours(TEXTS, second, lang="en", **options)
            continue
        theirs = reference(TEXTS, second, **options)
        found = ours(TEXTS, second, lang="en", **options)
        assert {type(found[key]) for key in theirs} == {type(theirs[key]) for key in theirs}
        parity.exact("tokenizer call", "padded batches", without_langs(found), without_langs(theirs))


@pytest.mark.parametrize("special", [True, False])
@pytest.mark.parametrize("truncation", [True, "only_first", "only_second", False, None])
def test_truncation_equals_the_reference(ours, reference, parity, truncation, special):
    rng = random.Random(str(truncation))
    words = ["the", "cat's", "dog", "unhappily", "runs", "3.5%", "of", "it"]
    for _ in range(30):
        first, second = (" ".join(rng.choices(words, k=rng.randint(5, 9))) for _ in range(2))
        options = {"truncation": truncation, "max_length": rng.randint(14, 40), "add_special_tokens": special}
        pair = second if truncation == "only_second" or rng.random() < 0.5 else None
        sizes = [len(reference(text, add_special_tokens=False)["input_ids"]) for text in (first, second)]
        num_excess = len(reference(first, pair, add_special_tokens=special)["input_ids"]) - options["max_length"]
        text = 1 if truncation == "only_second" else 0
        if truncation in ("only_first", "only_second") and num_excess > sizes[text]:
            with pytest.raises(
                ValueError, match=rf"has to remove {num_excess} tokens, but that text has {sizes[text]}"
            ):
                ours(first, pair, lang="en", **options)
            continue
        theirs = reference(first, pair, return_special_tokens_mask=True, return_token_type_ids=True, **options)
        found = ours(first, pair, lang="en", return_special_tokens_mask=True, return_token_type_ids=True, **options)
        parity.exact("tokenizer call", f"truncation {truncation}", without_langs(found), without_langs(theirs))


@pytest.mark.parametrize("stride", [0, 3, 500])
@pytest.mark.parametrize("truncation", ["longest_first", "only_first", "only_second"])
def test_overflowing_tokens_equal_the_reference(ours, reference, parity, truncation, stride):
    pair = TEXTS[3] if truncation != "longest_first" else None
    options = {"truncation": truncation, "max_length": 60 if pair else 9, "stride": stride}
    theirs = reference(TEXTS[3], pair, return_overflowing_tokens=True, **options)
    found = ours(TEXTS[3], pair, lang="en", return_overflowing_tokens=True, **options)
    assert theirs["overflowing_tokens"]
    parity.exact("tokenizer call", "overflowing tokens", without_langs(found), without_langs(theirs))


def test_sequences_of_any_language_equal_the_reference(ours, reference, parity, corpus):
    """The reference's prepare_for_model takes ids, which can be of any language."""
    rows = [row for row in corpus if row["lang"] != "ja" and unicodedata.is_normalized("NFC", row["text"])]
    for row, other in zip(rows[::7], rows[1::7], strict=False):
        texts = row["text"], other["text"]
        ids = [reference.convert_tokens_to_ids(reference._tokenize(text, lang=row["lang"])) for text in texts]
        for options in ({}, {"truncation": True, "max_length": 20}, {"padding": "max_length", "max_length": 300}):
            theirs = reference.prepare_for_model(*ids, **options)
            found = ours(*texts, lang=row["lang"], **options)
            parity.exact("tokenizer call", "every language", without_langs(found), without_langs(theirs))


def test_mask_tokens_in_texts_equal_the_reference(ours, reference, parity):
    for text in ("Paris is the <special1> of France.", "<special1>", "a<special1><special1> b"):
        found = ours(text, lang="en", mask_marker=ours.mask_token)
        parity.exact("tokenizer call", "masks", without_langs(found), without_langs(reference(text)))
    assert ours.mask_token_id not in ours.encode("<special1>", lang="en")


def test_one_row_and_lists_of_words_equal_the_reference(ours, reference, parity):
    words = [["Mr.", "Smith", "won't", "go", "3.5%"], ["a"], []]
    for text, options in [
        ("A text.", {}),
        (words[0], {"is_split_into_words": True}),
        ("Text", {"return_tensors": "pt"}),
    ]:
        found, theirs = (
            tokenizer(text, **extra, **options) for tokenizer, extra in ((ours, {"lang": "en"}), (reference, {}))
        )
        parity.exact("tokenizer call", "one row", without_langs(found), without_langs(theirs))
    theirs = reference(words[:2], words[:2], is_split_into_words=True, padding=True)
    found = ours(words[:2], words[:2], lang="en", is_split_into_words=True, padding=True)
    parity.exact("tokenizer call", "lists of words", without_langs(found), without_langs(theirs))
    assert ours(words, lang="en", is_split_into_words=True)["input_ids"][2] == [0, 1]


@pytest.mark.parametrize("lowercase", [True, False])
def test_segmented_texts_equal_the_reference(demo, parity, corpus, lowercase):
    checkpoint = demo / "checkpoint"
    ours = XLMTokenizer.from_pretrained(checkpoint, lowercase=lowercase)
    reference = transformers.XLMTokenizer.from_pretrained(checkpoint, do_lowercase_and_remove_accent=lowercase)
    texts = [row["text"] for row in corpus[::5]] + ["\t A\x85b\x1cÉ\u3000c ", "", " "]
    theirs = [reference.convert_tokens_to_ids(reference._tokenize(t, lang="en", bypass_tokenizer=True)) for t in texts]
    encoding = ours.encode_batch(texts, [None] * len(texts), bypass_tokenizer=True)
    found = [ids[1:-1] for ids in np.split(encoding.input_ids, encoding.cu_seqlens[1:-1])]
    parity.exact("tokenizer ids", "bypass", found, theirs)
    called = ours(texts, lang=None, bypass_tokenizer=True, add_special_tokens=False)["input_ids"]
    parity.exact("tokenizer ids", "bypass", called, theirs)
    tokens = [ours.tokenize(t, None, bypass_tokenizer=True) for t in texts]
    parity.exact("tokens", "bypass", tokens, [reference._tokenize(t, bypass_tokenizer=True) for t in texts])


def test_tokens_of_every_language_equal_the_reference(ours, reference, parity, corpus):
    for row in corpus:
        if row["lang"] != "ja" and unicodedata.is_normalized("NFC", row["text"]):  # the default composes other texts
            found = ours.tokenize(row["text"], row["lang"])
            parity.exact("tokens", "every language", found, reference._tokenize(row["text"], lang=row["lang"]))
    assert ours.tokenize("qxz 😀", "en") != ours.convert_ids_to_tokens(ours.encode("qxz 😀", lang="en"))[1:-1]


@pytest.mark.parametrize("skip", [True, False])
@pytest.mark.parametrize("clean", [True, False, None])
def test_decoded_texts_equal_the_reference(ours, reference, parity, corpus, skip, clean):
    options = {"skip_special_tokens": skip, "clean_up_tokenization_spaces": clean}
    batch = [reference(row["text"])["input_ids"] for row in corpus[::9]] + [[], [10**6, 3, 5]]
    tensor = torch.tensor(batch[0])
    for ids in [*batch, 7, batch, tensor, np.array([batch[0]] * 2), list(tensor), list(tensor.numpy()), [tensor] * 2]:
        parity.exact(
            "decoding", "lists, arrays, tensors", ours.decode(ids, **options), reference.decode(ids, **options)
        )
    for sequences in (batch, tensor, tensor[None], list(tensor), tensor[:0], []):
        found, theirs = (t.batch_decode(sequences, **options) for t in (ours, reference))
        parity.exact("decoding", "a batch", found, theirs)
    assert ours.decode(ours.encode("it isn't 5 , is it ?", lang="en"), **options).startswith("it" if skip else "<s>")


def test_sequences_with_special_tokens_equal_the_reference(ours, reference, parity):
    for pair in ([4, 5, 6], [7]), ([], []), ([8, 9],), ([],):
        for name in (
            "build_inputs_with_special_tokens",
            "create_token_type_ids_from_sequences",
            "get_special_tokens_mask",
        ):
            parity.exact("sequences", name, getattr(ours, name)(*pair), getattr(reference, name)(*pair))
    ids = [0, 50, 3, 5, 60, 1, 2, 2, 10**6]
    masks = [t.get_special_tokens_mask(ids, already_has_special_tokens=True) for t in (ours, reference)]
    parity.exact("sequences", "get_special_tokens_mask", *masks)
    for tokenizer in (ours, reference):
        with pytest.raises(ValueError, match=r"complete sequence|already formatted"):
            tokenizer.get_special_tokens_mask(ids, ids, already_has_special_tokens=True)
    counts = [[t.num_special_tokens_to_add(), t.num_special_tokens_to_add(pair=True)] for t in (ours, reference)]
    parity.exact("sequences", "num_special_tokens_to_add", *counts)


def test_vocabulary_equals_the_reference(ours, reference, parity):
    for role in ROLES:
        found, theirs = ([getattr(t, role), getattr(t, f"{role}_id")] for t in (ours, reference))
        parity.exact("vocabulary", "special tokens", found, theirs)
    for name in ("all_special_tokens", "all_special_ids"):
        parity.exact("vocabulary", name, sorted(getattr(ours, name)), sorted(getattr(reference, name)))
    for name in ("vocab_size", "special_tokens_map", "model_max_length", "lang2id", "padding_side"):
        parity.exact("vocabulary", name, getattr(ours, name), getattr(reference, name))
    assert {str(i): lang for i, lang in ours.id2lang.items()} == reference.id2lang
    parity.exact("vocabulary", "get_vocab", ours.get_vocab(), reference.get_vocab())
    assert len(ours) == len(reference)
    ids = [*range(40), len(ours) - 1, len(ours), 10**6]
    tokens = ours.convert_ids_to_tokens(ids)
    parity.exact("vocabulary", "tokens of ids", tokens, reference.convert_ids_to_tokens(ids))
    parity.exact(
        "vocabulary", "ids of tokens", ours.convert_tokens_to_ids(tokens), reference.convert_tokens_to_ids(tokens)
    )
    for token in (tokens[5], "no such token"):
        parity.exact(
            "vocabulary", "one token", ours.convert_tokens_to_ids(token), reference.convert_tokens_to_ids(token)
        )
    parity.exact("vocabulary", "one id", ours.convert_ids_to_tokens(20), reference.convert_ids_to_tokens(20))


@pytest.mark.parametrize("how", ["set_special_tokens", "mask_token", "mask_token_id"])
def test_other_special_tokens_equal_the_reference(demo, reference, parity, how):
    theirs = transformers.XLMTokenizer.from_pretrained(demo / "checkpoint")
    ours = XLMTokenizer.from_pretrained(demo / "checkpoint")
    theirs.mask_token = "<special5>"
    if how == "set_special_tokens":
        ours.set_special_tokens(mask_token="<special5>")
    else:
        setattr(ours, how, "<special5>" if how == "mask_token" else theirs.mask_token_id)
    parity.exact(
        "vocabulary", "another mask", [ours.mask_token, ours.mask_token_id], [theirs.mask_token, theirs.mask_token_id]
    )
    assert ours.mask_token_id != reference.mask_token_id
    encoding = ours.encode_batch(["a _"], ["en"], mask_marker="_")
    assert encoding.input_ids[-2] == theirs.mask_token_id
    ours.set_special_tokens(bos_token="</s>")
    theirs.bos_token = "</s>"
    parity.exact("vocabulary", "another beginning", ours.encode("a", lang="en"), theirs("a")["input_ids"])


@pytest.mark.parametrize("kind", [None, "pt"])
def test_padding_earlier_results_equals_the_reference(ours, reference, parity, kind):
    rows = [reference(text) for text in TEXTS]
    batch = reference(TEXTS)
    for given in (rows, batch, dict(batch), [{"input_ids": row["input_ids"], "label": 1} for row in rows]):
        for options in ({}, {"padding": "max_length", "max_length": 90}, {"pad_to_multiple_of": 8}):
            found, theirs = (t.pad(given, return_tensors=kind, **options) for t in (ours, reference))
            parity.exact("pad", "lists and tensors", without_langs(found), without_langs(theirs))
    one, theirs = (t.pad(rows[0], padding="max_length", max_length=70) for t in (ours, reference))
    parity.exact("pad", "one row", without_langs(one), without_langs(theirs))


@pytest.mark.parametrize("lowercase", [True, False])
def test_the_reference_loads_saved_files(demo, tmp_path, parity, corpus, lowercase):
    ours = XLMTokenizer.from_pretrained(demo / "checkpoint", zh="rjieba", lowercase=lowercase)
    ours.set_special_tokens(mask_token="<special3>")
    ours.model_max_length, ours.padding_side = 77, "left"
    paths = ours.save_pretrained(tmp_path / "new")
    names = {"vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json"}
    assert {path.name for path in paths} == {path.name for path in (tmp_path / "new").iterdir()} == names
    reference = transformers.XLMTokenizer.from_pretrained(tmp_path / "new")
    again = XLMTokenizer.from_pretrained(tmp_path / "new", zh="rjieba")
    rows = [row for row in corpus[::3] if row["lang"] != "ja" and unicodedata.is_normalized("NFC", row["text"])]
    for row in rows:
        tokens = reference._tokenize(row["text"], lang=row["lang"])
        parity.exact("saved files", "tokens", ours.tokenize(row["text"], row["lang"]), tokens)
    texts, langs = [row["text"] for row in rows], [row["lang"] for row in rows]
    before, after = ours.encode_batch(texts, langs), again.encode_batch(texts, langs)
    assert before.input_ids.tolist() == after.input_ids.tolist()
    for name in ("vocab_size", "special_tokens_map", "model_max_length", "padding_side", "lang2id", "mask_token_id"):
        parity.exact("saved files", name, getattr(ours, name), getattr(reference, name))
        assert getattr(again, name) == getattr(ours, name)
    assert again.lowercase is reference.do_lowercase_and_remove_accent is lowercase
    assert sorted(again.all_special_tokens) == sorted(reference.all_special_tokens)


def test_files_saved_by_the_reference_are_loaded_and_saved_without_loss(demo, tmp_path):
    reference = transformers.XLMTokenizer.from_pretrained(demo / "checkpoint", clean_up_tokenization_spaces=True)
    reference.save_pretrained(tmp_path / "theirs")
    ours = XLMTokenizer.from_pretrained(tmp_path / "theirs")
    assert ours.clean_up_tokenization_spaces
    ours.save_pretrained(tmp_path / "ours")
    for name in ("vocab.json", "merges.txt"):
        theirs, found = ((tmp_path / who / name).read_text(encoding="utf-8") for who in ("theirs", "ours"))
        assert json.loads(found) == json.loads(theirs) if name == "vocab.json" else found == theirs
    theirs, found = (json.loads((tmp_path / who / "tokenizer_config.json").read_text()) for who in ("theirs", "ours"))
    # The reference's newer name of additional_special_tokens, the special tokens again with their ids in vocab.json,
    # and how the file was loaded.
    assert theirs.pop("extra_special_tokens") == found.pop("additional_special_tokens")
    decoder = {int(i): token["content"] for i, token in theirs.pop("added_tokens_decoder").items()}
    assert decoder == {ours.vocab[token]: token for token in ours.all_special_tokens}
    assert {theirs.pop(key) for key in ("backend", "is_local", "local_files_only")} == {"custom", True, False}
    assert found.pop("padding_side") == reference.padding_side
    assert found == theirs
