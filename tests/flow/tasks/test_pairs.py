"""question-answering and multiple-choice, compared with a plain computation over every span and choice."""

from typing import Any

import numpy as np
import pytest
import torch

from tests.flow.in_process import read_rejected
from tests.flow.tasks.encoded_rows import encode_row
from tests.xlm_core.decoding.attached_marks import is_attached
from xlm_core import (
    MultipleChoiceHead,
    PackedBatch,
    QuestionAnsweringHead,
    QuestionAnsweringSimpleHead,
    XLMModel,
)

Row = dict[str, Any]


@pytest.fixture(scope="session")
def questions(rows) -> list[Row]:
    contexts = [" ".join(row["text"] for row in rows if row["lang"] == lang) for lang in {row["lang"] for row in rows}]
    by_lang = zip({row["lang"] for row in rows}, contexts, strict=True)
    return [{"id": f"q-{lang}", "lang": lang, "question": text[:20], "context": text * 2} for lang, text in by_lang]


def after_marks(text: str, i: int) -> int:
    while is_attached(text, i):
        i += 1
    return i


@torch.inference_mode()
@pytest.mark.parametrize("windows", [False, True])
def test_answers_are_the_best_spans_of_the_context(run_rows, questions, checkpoints, tokenizer, windows):
    # compared with the scores of all spans of every window
    folder = checkpoints / "heads"
    tasks = [
        {"question-answering": {"head": str(folder / "spans"), "top_k": 3, "max_answer_tokens": 6}},
        {"question-answering": {"head": str(folder / "beams"), "top_k": 2, "max_answer_tokens": 6, "prefix": "beam_"}},
    ]
    settings = {"tokenizer__max_length": 40, "tokenizer__overlap_tokens": 10} if windows else {}
    found = run_rows(
        questions,
        tasks,
        text=["question", "context"],
        tokenizer__on_overflow="window" if windows else "truncate",
        **settings,
    )
    assert found.keys() == {row["id"] for row in questions}
    trunk = XLMModel.from_pretrained(checkpoints / "lm")
    simple = QuestionAnsweringSimpleHead.from_pretrained(folder / "spans")
    beam = QuestionAnsweringHead.from_pretrained(folder / "beams")
    num_windowed = 0
    for row in questions:
        lang, context = row["lang"], row["context"]
        limits = {"max_length": 40, "overlap": 10} if windows else {"max_length": 128}
        encoding = tokenizer.encode_batch([row["question"]], [lang], [context], **limits)
        spans: dict[tuple[int, int], float] = {}
        no_answer = 1.0
        for i in range(len(encoding)):
            part = slice(encoding.cu_seqlens[i], encoding.cu_seqlens[i + 1])
            ids, offsets, words = encoding.input_ids[part], encoding.offsets[part], encoding.word_ids[part]
            second = np.flatnonzero(words < 0)[1] + 1
            allowed = list(range(second, len(ids) - 1))
            batch = PackedBatch.from_ragged(ids, np.array([0, len(ids)]), [tokenizer.lang2id[lang]])
            start, end = simple.forward_packed(trunk.forward_packed(batch), batch.cu_seqlens).double().unbind(1)
            assert ids[second - 1] == tokenizer.cls_token_id  # as in training: `</s>` after the question
            start, end = (x[[second - 1, *allowed]].softmax(0).tolist() for x in (start, end))
            no_answer = min(no_answer, start[0] * end[0])
            bounds = [[after_marks(context, i) for i in offsets[token]] for token in allowed]
            for a in range(len(allowed)):
                for b in range(a, min(a + 6, len(allowed))):
                    visible = [(first, last) for first, last in bounds[a : b + 1] if first < last]
                    if visible:
                        span, score = (visible[0][0], visible[-1][1]), start[a + 1] * end[b + 1]
                        spans[span] = max(spans.get(span, 0), score)
        best = sorted(spans.values(), reverse=True)[:3]
        out = found[row["id"]]
        assert np.allclose([answer["score"] for answer in out["answers"]], best, atol=1e-5)
        assert abs(out["no_answer_score"] - no_answer) < 1e-5
        num_windowed += len(encoding) > 1
        for answer in (*out["answers"], *out["beam_answers"]):
            assert context[answer["start"] : answer["end"]] == answer["text"] != ""
        for answer in out["answers"]:
            assert abs(spans[answer["start"], answer["end"]] - answer["score"]) < 1e-5
        assert out["beam_answers"]
        assert 0 <= out["beam_no_answer_score"] <= 1
    assert (num_windowed > 5) == windows
    assert beam.config.start_n_top == 3


def test_pair_is_rejected_if_one_text_has_no_token(run_rows, rows, checkpoints):
    odd = [
        {"id": "a", "lang": "en", "q": "who?", "c": "\u0301 \u0301"},
        {"id": "b", "lang": "en", "q": "who?", "c": "she"},
    ]
    task = [{"question-answering": {"head": str(checkpoints / "heads" / "beams")}}]
    assert run_rows(odd, task, text=["q", "c"]).keys() == {"b"}
    assert [row["reason"] for row in read_rejected(run_rows.path)] == ["empty_text"]


@torch.inference_mode()
def test_rows_may_have_any_number_of_choices(run_rows, rows, checkpoints, tokenizer):
    folder = checkpoints / "heads" / "choice"
    texts = [row["text"] for row in rows]
    many = [
        row | {"premise": row["text"], "choices": [texts[(i + j) % len(texts)] for j in range(1 + i % 4)]}
        for i, row in enumerate(rows)
    ]
    columns = [
        {k: row[k] for k in ("id", "lang", "premise")}
        | {f"c{j}": c for j, c in enumerate([*row["choices"], *[None] * 4][:4])}
        for row in many
    ]
    task = [{"multiple-choice": {"head": str(folder)}}]
    found = run_rows(many, task, text=["premise", "choices"])
    assert run_rows(columns, task, text=["premise", "c0", "c1", "c2", "c3"]) == found
    trunk, head = XLMModel.from_pretrained(checkpoints / "lm"), MultipleChoiceHead.from_pretrained(folder)
    for row in many:
        logits = []
        for choice in row["choices"]:
            batch = encode_row(tokenizer, row, row["premise"], choice, max_length=128)
            logits.append(float(head.forward_packed(trunk.forward_packed(batch), batch.cu_seqlens)))
        scores = torch.tensor(logits).softmax(0).tolist()
        assert np.allclose(found[row["id"]]["scores"], scores, atol=1e-4)
        assert found[row["id"]]["choice"] == int(np.argmax(scores))
    assert run_rows([many[0] | {"choices": []}, many[1]], task, text=["premise", "choices"]).keys() == {many[1]["id"]}
    assert [row["reason"] for row in read_rejected(run_rows.path)] == ["no_choices"]
