"""A checkpoint with heads of every kind: the demo's shape and vocabulary, with random weights from a fixed seed."""

import json
import shutil
from pathlib import Path

import torch

from xlm_core import (
    MultipleChoiceHead,
    QuestionAnsweringHead,
    QuestionAnsweringSimpleHead,
    SequenceClassificationHead,
    TokenClassificationHead,
    XLMConfig,
    XLMWithLMHeadModel,
)

LABELS = {"topic": ["a", "b", "c"], "tags": ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]}


def write_checkpoints(demo: Path, folder: Path) -> None:
    """Write `lm/` with the trunk and the language model head, and `heads/` with a directory for each other head."""
    (folder / "lm").mkdir(parents=True)
    for name in ("vocab.json", "merges.txt", "tokenizer_config.json"):
        shutil.copy(demo / "checkpoint" / name, folder / "lm" / name)
    base = json.loads((demo / "checkpoint" / "config.json").read_text(encoding="utf-8")) | {"mask_token_id": 5}
    del base["id2label"], base["label2id"]
    config = XLMConfig.from_dict(base)
    torch.manual_seed(3)
    model = XLMWithLMHeadModel(config)
    with torch.no_grad():  # larger weights than usual, because otherwise all scores are nearly equal
        for parameter in model.parameters():
            parameter.mul_(4) if parameter.dim() == 2 else parameter.add_(torch.randn_like(parameter) / 4)
    model.save_pretrained(folder / "lm")

    def save_head(head_class: type, name: str, **changes: object) -> None:
        head = head_class(XLMConfig.from_dict(base | changes))
        with torch.no_grad():
            for parameter in head.parameters():
                parameter.copy_(torch.randn_like(parameter) / 2)
        head.save_pretrained(folder / "heads" / name)

    topics, tags = (dict(enumerate(LABELS[name])) for name in ("topic", "tags"))
    save_head(SequenceClassificationHead, "topic", id2label=topics)
    save_head(SequenceClassificationHead, "several", id2label=topics, problem_type="multi_label_classification")
    save_head(SequenceClassificationHead, "values", id2label=topics, problem_type="regression")
    save_head(TokenClassificationHead, "tags", id2label=tags)
    save_head(QuestionAnsweringSimpleHead, "spans")
    save_head(QuestionAnsweringHead, "beams", start_n_top=3, end_n_top=2)
    save_head(MultipleChoiceHead, "choice")
