"""A small model with every head, random examples for each of them, and trainers of them."""

from dataclasses import replace

import numpy as np
import torch

from xlm_core import XLMConfig
from xlm_core.decoding import Sequences
from xlm_core.heads import (
    LanguageModelHead,
    MultipleChoiceHead,
    QuestionAnsweringHead,
    QuestionAnsweringSimpleHead,
    SequenceClassificationHead,
    TokenClassificationHead,
)
from xlm_core.model import Trunk
from xlm_core.ragged import cumulative_lengths
from xlm_core.training import (
    LM_HEAD,
    CausalLanguageModeling,
    Examples,
    MaskedLanguageModeling,
    Masking,
    MultipleChoice,
    QuestionAnswering,
    RowSampler,
    Schedule,
    SequenceClassification,
    StreamSampler,
    TokenClassification,
    TrainedObjective,
    Trainer,
    TrainerSettings,
    TrainingModel,
    TranslationLanguageModeling,
    TranslationRanking,
    group_by_lang,
)

WORDS, MASK, NUM_SPECIAL = 120, 5, 10
CONFIG = XLMConfig(
    vocab_size=WORDS,
    emb_dim=16,
    n_layers=2,
    n_heads=2,
    n_langs=3,
    max_position_embeddings=64,
    id2label={0: "a", 1: "b", 2: "c"},
    dropout=0.0,
    attention_dropout=0.0,
    summary_first_dropout=0.0,
)
MASKING = Masking.from_counts(np.arange(WORDS), range(NUM_SPECIAL), MASK, share=0.15, exponent=0.5)
OBJECTIVES = ("masked", "causal", "translation", "topic", "tags", "answers", "beam answers", "choice", "ranking")


def make_sequences(lengths, langs=None, per_row=1, seed=0):
    """Draw `<s> … </s>` of the given lengths; consecutive ones are a row."""
    rng = np.random.default_rng(seed)
    lengths = np.asarray(lengths)
    ids = rng.integers(NUM_SPECIAL, WORDS, lengths.sum()).astype(np.int32)
    cu_seqlens = cumulative_lengths(lengths)
    ids[cu_seqlens[:-1]], ids[cu_seqlens[1:] - 1] = 0, 1
    langs = rng.integers(0, 3, len(lengths)) if langs is None else langs
    return Sequences(
        ids,
        cu_seqlens,
        np.asarray(langs, np.int32),
        np.arange(0, len(lengths) + 1, per_row, dtype=np.int32),
        np.zeros(len(lengths), np.int32),
        np.empty(0, np.int32),
        np.empty((0, 2), np.int32),
    )


def make_examples(name, num_rows=60, seed=0):
    """Draw examples for one of the objectives."""
    rng = np.random.default_rng(seed)
    per_row = 2 if name in ("translation", "choice", "ranking") else 1
    sequences = make_sequences(rng.integers(4, 20, num_rows * per_row), None, per_row, seed)
    if name == "tags":
        targets = rng.integers(0, 3, len(sequences.input_ids))
        targets[rng.random(len(targets)) < 0.3] = -100
        return Examples(sequences, targets, per_token=True)
    if name.endswith("answers"):
        starts = rng.integers(1, 3, num_rows)
        targets = np.stack([starts, np.minimum(starts + 1, 3)], axis=1)
        targets[::4] = -1
        return Examples(sequences, targets)
    if name in ("topic", "choice"):
        return Examples(sequences, rng.integers(0, 3 if name == "topic" else 2, num_rows))
    return Examples(sequences)


def make_model(names, *, freeze_trunk=False, **changes):
    """Build a trunk, the heads of some objectives, and these objectives."""
    torch.manual_seed(0)
    config = replace(CONFIG, causal="causal" in names, **changes)
    two = replace(config, id2label={0: "start", 1: "end"})
    heads, objectives = {}, {}
    for name in names:
        if name in ("masked", "causal", "translation"):
            head = heads.setdefault(LM_HEAD, LanguageModelHead(config))
        if name == "masked":
            objectives[name] = MaskedLanguageModeling(head, MASKING)
        elif name == "causal":
            objectives[name] = CausalLanguageModeling(head)
        elif name == "translation":
            objectives[name] = TranslationLanguageModeling(head, MASKING)
        elif name == "topic":
            heads[name] = SequenceClassificationHead(config)
            objectives[name] = SequenceClassification(heads[name])
        elif name == "tags":
            heads[name] = TokenClassificationHead(config)
            objectives[name] = TokenClassification(heads[name])
        elif name == "answers":
            heads[name] = QuestionAnsweringSimpleHead(two)
            objectives[name] = QuestionAnswering(heads[name])
        elif name == "beam answers":
            heads[name] = QuestionAnsweringHead(config)
            objectives[name] = QuestionAnswering(heads[name])
        elif name == "choice":
            heads[name] = MultipleChoiceHead(config)
            objectives[name] = MultipleChoice(heads[name])
        elif name == "ranking":
            objectives[name] = TranslationRanking()
    return TrainingModel(Trunk(config), heads, freeze_trunk=freeze_trunk), objectives


def make_trainer(
    *names, tokens_per_step=400, max_tokens=200, freeze_trunk=False, settings=None, trained=None, **changes
):
    """Build a trainer of some objectives.

    `settings` changes those of the trainer, `trained` those of its objectives, and `changes` the configuration.
    """
    model, objectives = make_model(names, freeze_trunk=freeze_trunk, **changes)
    found = {}
    for name, objective in objectives.items():
        examples = make_examples(name)
        groups = group_by_lang(examples)
        is_stream = name in ("masked", "causal")
        sampler = StreamSampler(examples, groups, 0.7, 0, 16) if is_stream else RowSampler(examples, groups, 0.7, 0)
        dev = make_examples(name, num_rows=20, seed=1)
        found[name] = TrainedObjective(objective, sampler, dev=dev, **(trained or {}))
    schedule = Schedule(1e-2, warmup_steps=3, total_steps=20, decay="linear")
    settings = {"schedule": schedule, "tokens_per_step": tokens_per_step, "max_tokens": max_tokens} | (settings or {})
    return Trainer(model, found, TrainerSettings(**settings))


def losses(trainer, num_steps):
    return [trainer.run_step().loss for _ in range(num_steps)]
