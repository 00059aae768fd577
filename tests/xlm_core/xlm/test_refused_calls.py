"""Messages of calls and options that XLM refuses. They have positions, and never texts."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from xlm_core import XLM, CheckpointError, FatalError, TokenizerError, XLMForTokenClassification, XLMModel, XLMTokenizer

REFUSED: dict[str, tuple[Callable[[XLM, Path], Any], type[Exception], str]] = {
    "missing": (
        lambda xlm, _: xlm.embed(["a", None, "b", float("nan"), pd.NA], "en"),
        ValueError,
        "texts: missing (None or NaN) at positions 1, 3, 4; drop them",
    ),
    "many missing": (
        lambda xlm, _: xlm.embed(pd.Series(["a", *[None] * 9], dtype="string"), "en"),
        ValueError,
        "texts: missing (None or NaN) at positions 1, 2, 3, 4, 5 and 4 more; drop them",
    ),
    "empty": (lambda xlm, _: xlm.embed(["a", " \n"], "en"), ValueError, "texts: empty at position 1; drop them"),
    "a number": (
        lambda xlm, _: xlm.embed(["a", 3], "en"),
        TypeError,
        "texts: got int at position 1, expected a string, or a list of words",
    ),
    "a table": (
        lambda xlm, _: xlm.embed(pd.DataFrame({"text": ["a"]}), "en"),
        TypeError,
        "texts: got DataFrame, expected a text, or a list or column of texts; pass one of its columns",
    ),
    "a dict": (
        lambda xlm, _: xlm.embed({"a": 1}, "en"),
        TypeError,
        "texts: got dict, expected a text, or a list or column of texts",
    ),
    "an unknown language": (
        lambda xlm, _: xlm.embed(["a", "b"], ["en", "tlh"]),
        ValueError,
        "lang: language tlh is not in the checkpoint's lang2id; its languages are ar, bg, de, el, en, es, fr, hi, it, "
        'ja, pt, ro, ru, sw, th, tr, vi, zh; correct it, or load the model with unknown_lang="neutral" to run such '
        "texts without a language",
    ),
    "too few languages": (
        lambda xlm, _: xlm.embed(["a", "b", "c"], ["en", "de"]),
        ValueError,
        "lang: got 2, expected one for all texts, or 3, one for each text",
    ),
    "a language that is a number": (
        lambda xlm, _: xlm.embed(["a"], [3]),
        TypeError,
        "lang: got int at position 0, expected a language code such as de",
    ),
    "too few second texts": (
        lambda xlm, _: xlm.embed(["a", "b"], "en", pairs=["c"]),
        ValueError,
        "pairs: got 1, expected 2, one for each of texts",
    ),
    "one question and a list": (
        lambda xlm, heads: xlm.answer("Q", ["c"], "en", head=heads / "spans"),
        ValueError,
        "contexts: got a list, expected one text, because questions is one text",
    ),
    "questions and one context": (
        lambda xlm, heads: xlm.answer(["Q"], "c", "en", head=heads / "spans"),
        ValueError,
        "contexts: got one text, expected a list, because questions is a list",
    ),
    "choices that are one string": (
        lambda xlm, heads: xlm.choose("a", "bc", "en", head=heads / "choice"),
        TypeError,
        "choices: got a string, expected a list of choices",
    ),
    "strings and words": (
        lambda xlm, heads: xlm.tag(["a", ["b"]], "en", head=heads / "tags"),
        TypeError,
        "texts: got strings and lists of words, expected only one of them",
    ),
    "a choice that is no list": (
        lambda xlm, heads: xlm.choose(["a"], ["b"], "en", head=heads / "choice"),
        TypeError,
        "choices: got a string at position 0, expected a list of choices",
    ),
    "no choice": (
        lambda xlm, heads: xlm.choose(["a", "b"], [["c"], []], "en", head=heads / "choice"),
        ValueError,
        "choices: empty at position 1; drop them",
    ),
    "too long a prompt": (
        lambda xlm, _: XLM.from_pretrained(xlm.model.checkpoint, objective="causal").generate(
            "a", "en", max_new_tokens=200
        ),
        ValueError,
        "max_new_tokens: got 200, but texts of 3 tokens leave fewer of the 128 positions of the model; lower it, or "
        "max_length",
    ),
    "windows": (
        lambda xlm, _: xlm.embed("a", "en", windows="all"),
        ValueError,
        "windows: got 'all', expected one of mean, each",
    ),
    "pooling": (
        lambda xlm, _: xlm.embed("a", "en", pooling="avg"),
        ValueError,
        "pooling: got 'avg', expected one of first, mean, last, max",
    ),
    "no dimensions": (
        lambda xlm, _: xlm.embed("a", "en", truncate_dim=0),
        ValueError,
        "truncate_dim: got 0, expected at least 1",
    ),
    "no layer": (
        lambda xlm, _: xlm.embed("a", "en", layer=[]),
        ValueError,
        "layer: got an empty list, expected a layer, or a list of layers to average",
    ),
    "problem": (
        lambda xlm, heads: xlm.classify("a", "en", head=heads / "several", problem="multi"),
        ValueError,
        "problem: got 'multi', expected one of single-label, multi-label, regression",
    ),
    "no label": (
        lambda xlm, heads: xlm.classify("a", "en", head=heads / "several", top_k=0),
        ValueError,
        "top_k: got 0, expected at least 1",
    ),
    "aggregate": (
        lambda xlm, heads: xlm.tag("a", "en", head=heads / "tags", aggregate="words"),
        ValueError,
        "aggregate: got 'words', expected one of word, entity",
    ),
    "pieces": (
        lambda xlm, heads: xlm.tag("a", "en", head=heads / "tags", pieces="avg"),
        ValueError,
        "pieces: got 'avg', expected one of first, last, max, mean",
    ),
    "scheme": (
        lambda xlm, heads: xlm.tag("a", "en", head=heads / "tags", scheme="foo"),
        ValueError,
        "scheme: got 'foo', expected one of auto, bio, bioes, bilou, bmes, bmewo, plain",
    ),
    "no token for a mask": (
        lambda xlm, _: xlm.fill("a <mask>", "en", top_k=0),
        ValueError,
        "top_k: got 0, expected at least 1",
    ),
    "no marker of masks": (
        lambda xlm, _: xlm.fill("a <mask>", "en", mask=""),
        ValueError,
        "mask: got an empty string, expected the string that marks a mask in the texts",
    ),
    "a layer": (
        lambda xlm, _: xlm.embed("a", "en", layer=9),
        FatalError,
        "feature-extraction: got layer 9, but the checkpoint has 2 layers; set layer to 0 (embeddings) to 2, or -1 "
        "(last layer) to -3",
    ),
    "another problem": (
        lambda xlm, heads: xlm.classify("a", "en", head=heads / "several", problem="regression"),
        FatalError,
        "text-classification: the head was trained for multi_label_classification, got problem regression; set problem "
        "to multi-label",
    ),
    "Japanese": (
        lambda xlm, _: xlm.embed("日本", "ja"),
        TokenizerError,
        "Japanese text needs a KyTea model, and none is configured; set kytea_model to a model file, or ja to fugashi, "
        "which includes a dictionary",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_calls_have_one_message(xlm, heads, case):
    call, kind, message = REFUSED[case]
    with pytest.raises(kind) as error:
        call(xlm, heads)
    assert str(error.value) == message


def test_head_that_the_checkpoint_does_not_have(xlm):
    absent = "contains a language-modeling head, but no {} head; set head to a directory with one$"
    with pytest.raises(CheckpointError, match="^token-classification: .*" + absent.format("token-classification")):
        xlm.tag("a", "en")
    with pytest.raises(CheckpointError, match="^question-answering: .*" + absent.format("question-answering")):
        xlm.answer("a", "b", "en")


def test_head_of_another_trunk_is_refused(xlm, demo, tmp_path):
    """The demo's trunk has the same shape and other weights."""
    XLMModel.from_pretrained(demo / "checkpoint").save_pretrained(tmp_path)
    model = XLMForTokenClassification(xlm.model.trunk.config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    model.save_pretrained(tmp_path)
    with pytest.raises(FatalError, match="this head was trained with another trunk than"):
        xlm.tag("a", "en", head=tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "gpu"}, "device: got 'gpu', expected auto, cpu, cuda or a number of a GPU, as in cuda:1"),
        ({"precision": "half"}, "precision: got 'half', expected one of auto, float32, bfloat16, float16"),
        ({"objective": "mlm"}, "objective: got 'mlm', expected one of checkpoint, causal, masked"),
        ({"on_overflow": "reject"}, "on_overflow: got 'reject', expected one of truncate, window, error"),
        ({"unknown_lang": "ignore"}, "unknown_lang: got 'ignore', expected one of error, neutral"),
        ({"zh": "jeba"}, "zh: got 'jeba', expected one of jieba, rjieba"),
        ({"ja": "mecab"}, "ja: got 'mecab', expected one of kytea, fugashi"),
        ({"compat": "ref"}, "compat: got 'ref', expected one of default, reference"),
        ({"max_length": 500}, "max_length: got 500, expected 3 to 128, the positions of "),
        ({"max_tokens": 0}, "max_tokens: got 0, expected at least 1"),
        (
            {"on_overflow": "window", "max_length": 20},
            "overlap_tokens: got 64, expected 0 to 16, so that windows advance",
        ),
    ],
)
def test_refused_options_have_one_message(checkpoints, options, message):
    with pytest.raises(ValueError) as error:
        XLM.from_pretrained(checkpoints / "lm", **options)
    assert str(error.value).startswith(message)


@pytest.mark.parametrize("options", [{"zh": "jeba"}, {"ja": "mecab"}, {"compat": "ref"}])
def test_tokenizer_refuses_the_same_options(checkpoints, options):
    ((name, value),) = options.items()
    with pytest.raises(ValueError, match=f"^{name}: got '{value}', expected one of "):
        XLMTokenizer.from_pretrained(checkpoints / "lm", **options)
