"""text-classification and token-classification, compared with the library and with the text."""

import numpy as np
import torch

from tests.flow.heads import LABELS
from tests.flow.tasks.encoded_rows import encode_row
from xlm_core import SequenceClassificationHead, XLMModel


@torch.inference_mode()
def test_single_label_multi_label_and_regression_scores_match_the_library(run_rows, rows, checkpoints, tokenizer):
    heads = {name: str(checkpoints / "heads" / name) for name in ("topic", "several", "values")}
    tasks = [
        {"text-classification": {"head": heads["topic"], "scores": True}},
        {"text-classification": {"head": heads["several"], "problem": "multi-label", "threshold": 0.6, "prefix": "m_"}},
        {"text-classification": {"head": heads["values"], "problem": "regression", "prefix": "r_"}},
    ]
    found = run_rows(rows, tasks)
    trunk = XLMModel.from_pretrained(checkpoints / "lm")
    loaded = {name: SequenceClassificationHead.from_pretrained(path) for name, path in heads.items()}
    nums_labels = set()
    for row in rows:
        batch, out = encode_row(tokenizer, row, row["text"]), found[row["id"]]
        logits = {n: h.forward_packed(trunk.forward_packed(batch), batch.cu_seqlens)[0] for n, h in loaded.items()}
        assert np.abs(np.array(out["scores"]) - logits["topic"].softmax(0).numpy()).max() < 1e-4
        assert out["label"] == LABELS["topic"][int(logits["topic"].argmax())]
        several = logits["several"].sigmoid()
        expected = sorted(((s, LABELS["topic"][i]) for i, s in enumerate(several.tolist()) if s >= 0.6), reverse=True)
        assert [pair["label"] for pair in out["m_labels"]] == [label for _, label in expected]
        nums_labels.add(len(expected))
        assert np.abs(np.array(out["r_values"]) - logits["values"].numpy()).max() < 1e-4
    assert len(nums_labels) > 1


def test_windows_omit_no_word_repeat_none_and_split_no_entity(run_rows, rows, checkpoints):
    head = str(checkpoints / "heads" / "tags")
    tasks = [
        {"token-classification": {"head": head, "pieces": "mean"}},
        {"token-classification": {"head": head, "pieces": "max", "aggregate": "entity"}},
    ]
    texts = {row["id"]: row["text"] for row in rows}
    without_windows = run_rows(rows, tasks)
    windows = {"tokenizer__max_length": 14, "tokenizer__on_overflow": "window", "tokenizer__overlap_tokens": 5}
    windowed = run_rows(rows, tasks, **windows)
    num_entities = 0
    for row_id, row in windowed.items():
        offsets = [(word["start"], word["end"]) for word in row["words"]]
        assert offsets == [(word["start"], word["end"]) for word in without_windows[row_id]["words"]]
        last = 0
        for span in (*row["words"], *row["entities"]):
            assert texts[row_id][span["start"] : span["end"]] == span["text"]
        for entity in row["entities"]:
            num_entities += 1
            assert entity["start"] >= last
            last = entity["end"]
            assert {entity["start"]} <= {start for start, _ in offsets}
            assert {entity["end"]} <= {end for _, end in offsets}
    assert num_entities > 50


def test_every_word_of_a_word_list_gets_an_item(run_rows, rows, checkpoints):
    # words may contain punctuation and spaces, or be empty
    words = [[*row["text"].split(), "", "two words"] for row in rows]
    given = [row | {"text": word_list} for row, word_list in zip(rows, words, strict=True)]
    task = {"token-classification": {"head": str(checkpoints / "heads" / "tags")}}
    found = run_rows(given, [task])
    plain = run_rows(given, [task], tokenizer__bypass_tokenizer=True)
    for row in given:
        for out in (found[row["id"]]["words"], plain[row["id"]]["words"]):
            assert [word["text"] for word in out] == row["text"]
            joined = " ".join(row["text"])
            assert all(joined[word["start"] : word["end"]] == word["text"] for word in out)
            assert [word["label"] is None for word in out] == [not word for word in row["text"]]
