"""XLM: what it takes and returns. `tests/flow/tasks/test_library.py` compares its numbers with those of jobs."""

import io
import math
import subprocess
import sys
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from rich.console import Console

from xlm_core import XLM, InferenceError, XLMModel
from xlm_core.xlm import Span

TEXTS = ["Good morning.", "Guten Morgen.", "早上好。"]
LANGS = ["en", "de", "zh"]


@pytest.mark.parametrize(
    "column",
    [
        tuple,
        iter,
        np.array,
        lambda values: np.array(values, object),
        lambda values: pd.Series(values, index=[7, 3, 7]),
        lambda values: pd.Series(values, dtype="string"),
        lambda values: pd.Series(values, dtype="category"),
        lambda values: pd.Index(values),
        pl.Series,
        pa.array,
        lambda values: pa.chunked_array([values[:1], values[1:]]),
    ],
)
def test_texts_and_languages_in_columns_of_any_library(xlm, column):
    expected = xlm.embed(TEXTS, LANGS)
    assert (expected.shape, expected.dtype) == ((3, 64), np.float32)
    assert np.array_equal(xlm.embed(column(TEXTS), column(LANGS)), expected)


def test_one_text_gets_one_result(xlm, heads):
    """It equals that of a list of one text."""
    premise, choices = "It rains.", ["Take an umbrella.", "Go out."]
    assert np.array_equal(xlm.embed(TEXTS[0], "en"), xlm.embed(TEXTS[:1], ["en"])[0])
    for single, (one,) in (
        (xlm.tag(TEXTS[0], "en", head=heads / "tags"), xlm.tag(TEXTS[:1], "en", head=heads / "tags")),
        (
            xlm.answer("Who?", "Me.", "en", head=heads / "spans"),
            xlm.answer(["Who?"], ["Me."], "en", head=heads / "spans"),
        ),
        (xlm.fill("A <mask>.", "en"), xlm.fill(["A <mask>."], "en")),
        (xlm.score(TEXTS[0], "en"), xlm.score(TEXTS[:1], "en")),
    ):
        assert single == one
    classified, (one,) = (xlm.classify(texts, "en", head=heads / "topic") for texts in (TEXTS[0], TEXTS[:1]))
    assert (classified.label, classified.score) == (one.label, one.score)
    chosen = xlm.choose(premise, choices, "en", head=heads / "choice")
    assert chosen.choice == xlm.choose([premise], [choices], "en", head=heads / "choice")[0].choice
    assert math.isclose(chosen.scores.sum(), 1.0, rel_tol=1e-6)


def test_no_texts_get_no_results(xlm, heads):
    assert xlm.embed([], "en").shape == (0, 64)
    assert xlm.embed(pd.Series([], dtype=str), [], truncate_dim=8).shape == (0, 8)
    assert xlm.tag([], "en", head=heads / "tags") == []


def test_codes_of_languages_are_resolved_as_in_jobs(xlm):
    assert np.array_equal(xlm.embed(TEXTS, ["eng", "deu_Latn", "zh_CN"]), xlm.embed(TEXTS, LANGS))
    assert not np.array_equal(xlm.embed(TEXTS[0], "en"), xlm.embed(TEXTS[0], "fr"))


def test_texts_in_unknown_languages_run_without_one(checkpoints):
    xlm = XLM.from_pretrained(checkpoints / "lm", unknown_lang="neutral")
    vectors = xlm.embed([TEXTS[0]] * 2, ["tlh", "en"])
    assert not np.allclose(vectors[0], vectors[1])
    with pytest.raises(ValueError, match=r"^lang: missing at position 1; pass the language of each text$"):
        xlm.embed([TEXTS[0]] * 2, ["tlh", None])


def test_given_words_keep_their_words(xlm, heads):
    spans = xlm.tag([["New", "York", "", "rains"]], "en", head=heads / "tags")[0]
    assert [span.text for span in spans] == ["New", "York", "", "rains"]
    assert spans[2] == Span(None, None, 9, 9, "")
    assert [(span.start, span.end) for span in spans] == [(0, 3), (4, 8), (9, 9), (10, 15)]


def test_windows_reach_the_end_of_a_text(checkpoints, heads):
    text = "Angela Merkel visited Berlin. " * 30
    cut, whole = (
        XLM.from_pretrained(checkpoints / "lm", on_overflow=on_overflow, max_length=40, overlap_tokens=8)
        for on_overflow in ("truncate", "window")
    )
    assert cut.tag(text, "en", head=heads / "tags")[-1].end < 200
    assert whole.tag(text, "en", head=heads / "tags")[-1].end == len(text) - 1
    vectors = whole.embed([text, "Short."], "en", windows="each")
    assert [vector.shape for vector in vectors] == [(len(vectors[0]), 64), (1, 64)]
    assert len(vectors[0]) > 3


def test_results_do_not_depend_on_the_token_budget(checkpoints, xlm, corpus):
    texts, langs = zip(*[(row["text"], row["lang"]) for row in corpus[:60] if row["lang"] != "ja"], strict=True)
    small = XLM.from_pretrained(checkpoints / "lm", max_tokens=50)
    assert np.allclose(small.embed(texts, langs), xlm.embed(texts, langs), atol=2e-5)


def test_many_texts_are_computed_in_chunks(xlm, monkeypatch):
    expected = xlm.embed(TEXTS * 4, LANGS * 4)
    monkeypatch.setattr("xlm_core.xlm.runner._CHUNK_ROWS", 5)
    assert np.allclose(xlm.embed(TEXTS * 4, LANGS * 4), expected, atol=2e-5)
    with pytest.raises(ValueError, match=r"^texts: without any token at position 7; drop them$"):
        xlm.embed([*TEXTS * 2, "a", "\u200b"], "en")


def test_longer_texts_are_an_error_on_request(checkpoints):
    xlm = XLM.from_pretrained(checkpoints / "lm", on_overflow="error", max_length=8)
    assert xlm.embed("Short.", "en").shape == (64,)
    with pytest.raises(ValueError, match=r"^texts: longer than max_length, 8 tokens, at position 1; load the model"):
        xlm.embed(["Short.", "A text of many more words than that."], "en")


def test_memory_that_runs_out_halves_the_token_budget(checkpoints, monkeypatch):
    xlm = XLM.from_pretrained(checkpoints / "lm", max_tokens=400)
    texts, run = [f"{text} {i}" for i in range(40) for text in TEXTS[:2]], XLMModel.forward_with_plan
    expected, limit = xlm.embed(texts, "en"), [100]

    def forward_with_plan(trunk: XLMModel, batch: Any, *args: Any, **options: Any) -> Any:
        if batch.num_tokens > limit[0]:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return run(trunk, batch, *args, **options)

    monkeypatch.setattr(XLMModel, "forward_with_plan", forward_with_plan)
    assert np.allclose(xlm.embed(texts, "en"), expected, atol=2e-5)
    assert xlm.model.max_tokens == 100
    limit[0] = 3
    with pytest.raises(InferenceError, match=r"^out of memory on cpu: the longest sequence, of text 4, .* max_length"):
        xlm.embed(["Yes.", "Yes.", "No.", "No.", "A longer text.", "No."], "en")


def test_progress_is_shown_on_a_terminal_once_a_call_takes_long(xlm, monkeypatch):
    shown = io.StringIO()
    monkeypatch.setattr("xlm_core.xlm.progress.Console", lambda **_: Console(file=shown, force_terminal=True))
    xlm.embed(TEXTS, LANGS)
    assert shown.getvalue() == ""
    monkeypatch.setattr("xlm_core.xlm.progress._SHOW_AFTER_S", 0.0)
    xlm.score(TEXTS, LANGS)
    assert "tokenize" in shown.getvalue()
    assert "3/3" in shown.getvalue()


def test_call_imports_no_library_of_tables(checkpoints):
    code = (
        f"from xlm_core import XLM; XLM.from_pretrained({str(checkpoints / 'lm')!r}).embed(['a'], 'en'); import sys; "
    )
    code += "assert not {'pandas', 'pyarrow', 'ray', 'polars'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
