"""Losses of training objectives compared with those of the reference on the same batch."""

import numpy as np
import pytest
import torch
import transformers

from tests.parity.reference_model import LOGITS, TINY, reference, save
from tests.parity.training.training_examples import LENGTHS, MASK, NUM_SPECIAL, loss_of, make_examples, pad, padded
from xlm_core.heads import (
    LanguageModelHead,
    MultipleChoiceHead,
    QuestionAnsweringHead,
    QuestionAnsweringSimpleHead,
    SequenceClassificationHead,
    TokenClassificationHead,
)
from xlm_core.training import (
    CausalLanguageModeling,
    MaskedLanguageModeling,
    Masking,
    MultipleChoice,
    QuestionAnswering,
    SequenceClassification,
    TokenClassification,
    TranslationLanguageModeling,
)

MASKING = Masking.from_counts(np.ones(TINY["vocab_size"], np.int64), range(NUM_SPECIAL), MASK, 0.15, 0.5)
NO_DROPOUT = {"dropout": 0.0, "attention_dropout": 0.0}


def model(tmp_path, model_class, head_class, **changes):
    """Return a reference model, and the same head here."""
    theirs = reference(model_class, **NO_DROPOUT, **changes)
    return theirs, head_class.from_pretrained(save(theirs, tmp_path, "safetensors")).eval()


@pytest.mark.parametrize("is_tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize("causal", [False, True], ids=["masked", "causal"])
def test_language_modeling(tmp_path, parity, causal, is_tied):
    changes = {"causal": causal, "tie_word_embeddings": is_tied}
    theirs, head = model(tmp_path, transformers.XLMWithLMHeadModel, LanguageModelHead, **changes)
    objective = CausalLanguageModeling(head) if causal else MaskedLanguageModeling(head, MASKING)
    examples = objective.prepare(make_examples(), np.random.default_rng(0))
    arguments = padded(examples.sequences)
    if causal:
        labels = torch.full_like(arguments["input_ids"], -100)
        labels[:, :-1] = arguments["input_ids"][:, 1:].masked_fill(arguments["attention_mask"][:, 1:] == 0, -100)
    else:
        labels = pad(examples.targets, examples.sequences.cu_seqlens, -100)
        assert (arguments["input_ids"] == MASK).any()
    expected = theirs(**arguments, labels=labels).loss
    case = f"{'causal' if causal else 'masked'}, {'tied' if is_tied else 'untied'}"
    parity("training, loss", case, loss_of(objective, tmp_path, examples), expected, LOGITS)


def test_translation_language_modeling(tmp_path, parity):
    theirs, head = model(tmp_path, transformers.XLMWithLMHeadModel, LanguageModelHead)
    objective = TranslationLanguageModeling(head, MASKING)
    examples = objective.prepare(make_examples(per_row=2), np.random.default_rng(0))
    rows = []
    texts = [torch.from_numpy(text) for text in np.split(examples.sequences.input_ids, np.cumsum(LENGTHS)[:-1])]
    labels = [torch.from_numpy(text) for text in np.split(examples.targets, np.cumsum(LENGTHS)[:-1])]
    for i in range(0, len(LENGTHS), 2):
        first, second = LENGTHS[i], LENGTHS[i + 1] - 1  # without its first special token
        langs = np.repeat(examples.sequences.langs[i : i + 2], [first, second])
        rows.append(
            {
                "input_ids": torch.cat([texts[i], texts[i + 1][1:]]).long(),
                "labels": torch.cat([labels[i], labels[i + 1][1:]]),
                "langs": torch.from_numpy(langs).long(),
                "position_ids": torch.cat([torch.arange(first), torch.arange(second)]),
                "attention_mask": torch.ones(first + second),
            }
        )
    padding = {"input_ids": TINY["pad_token_id"], "labels": -100, "langs": 0, "position_ids": 0, "attention_mask": 0}
    batch = {
        name: torch.nn.utils.rnn.pad_sequence([row[name] for row in rows], True, value)
        for name, value in padding.items()
    }
    parity("training, loss", "translation", loss_of(objective, tmp_path, examples), theirs(**batch).loss, LOGITS)


@pytest.mark.parametrize("problem", ["single_label_classification", "multi_label_classification", "regression", None])
def test_sequence_classification(tmp_path, parity, problem):
    changes = {"num_labels": 3, "problem_type": problem}
    theirs, head = model(tmp_path, transformers.XLMForSequenceClassification, SequenceClassificationHead, **changes)
    rng = np.random.default_rng(1)
    if problem in ("single_label_classification", None):
        targets = rng.integers(0, 3, len(LENGTHS))
    elif problem == "regression":
        targets = rng.normal(size=(len(LENGTHS), 3))
    else:
        targets = rng.integers(0, 2, (len(LENGTHS), 3))
    examples = make_examples(targets=targets)
    labels = torch.from_numpy(targets)
    labels = labels if labels.dim() == 1 else labels.float()
    expected = theirs(**padded(examples.sequences), labels=labels).loss
    got = loss_of(SequenceClassification(head), tmp_path, examples)
    parity("training, loss", f"sequence, {problem or 'no problem type'}", got, expected, LOGITS)


def test_token_classification(tmp_path, parity):
    theirs, head = model(tmp_path, transformers.XLMForTokenClassification, TokenClassificationHead, num_labels=4)
    rng = np.random.default_rng(1)
    targets = np.where(rng.random(sum(LENGTHS)) < 0.4, -100, rng.integers(0, 4, sum(LENGTHS)))
    examples = make_examples(targets=targets, per_token=True)
    labels = pad(targets, examples.sequences.cu_seqlens, -100)
    expected = theirs(**padded(examples.sequences), labels=labels).loss
    parity("training, loss", "tokens", loss_of(TokenClassification(head), tmp_path, examples), expected, LOGITS)


def test_multiple_choice(tmp_path, parity):
    theirs, head = model(tmp_path, transformers.XLMForMultipleChoice, MultipleChoiceHead, num_labels=3)
    examples = make_examples(targets=np.array([3, 0]), per_row=4)
    arguments = {name: value.unflatten(0, (2, 4)) for name, value in padded(examples.sequences).items()}
    expected = theirs(**arguments, labels=torch.tensor([3, 0])).loss
    parity("training, loss", "choice", loss_of(MultipleChoice(head), tmp_path, examples), expected, LOGITS)


@pytest.mark.parametrize("has_answers", ["all", "some"])
@pytest.mark.parametrize("kind", ["simple", "beam"])
def test_question_answering(tmp_path, parity, kind, has_answers):
    """The reference runs each row alone, because its simple head would also score pads."""
    classes = {
        "simple": (transformers.XLMForQuestionAnsweringSimple, QuestionAnsweringSimpleHead),
        "beam": (transformers.XLMForQuestionAnswering, QuestionAnsweringHead),
    }
    theirs, head = model(tmp_path, *classes[kind])
    starts = np.array([min(1, length - 1) for length in LENGTHS])
    targets = np.stack([starts, np.array(LENGTHS) // 2], axis=1)
    if has_answers == "some":
        targets[1::3] = -1
    examples = make_examples(targets=targets)
    losses = []
    for row, (start, end) in enumerate(targets.tolist()):
        arguments = padded(examples.take(np.array([row])).sequences)
        last = LENGTHS[row] - 1
        if start < 0:
            start = end = 0 if kind == "simple" else last
        if kind == "beam":
            is_impossible = torch.tensor([float(targets[row, 0] < 0)])
            arguments |= {"cls_index": torch.tensor([last]), "is_impossible": is_impossible}
        labels = {"start_positions": torch.tensor([start]), "end_positions": torch.tensor([end])}
        losses.append(theirs(**arguments, **labels).loss)
    got = loss_of(QuestionAnswering(head), tmp_path, examples)
    parity("training, loss", f"answers, {kind}, {has_answers} answerable", got, torch.stack(losses).mean(), LOGITS)
