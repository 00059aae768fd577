"""BPE dropout splits tokens as the merges say, and nothing else of the examples changes."""

from dataclasses import replace

import numpy as np
import pytest

from tests.xlm_core.training.small_training import make_sequences, make_trainer
from xlm_core.heads import NO_LABEL
from xlm_core.training import BpeDropout, Examples, find_parts

VOCAB = {"<s>": 0, "</s>": 1, "a": 2, "b": 3, "c</w>": 4, "ab": 5, "abc</w>": 6, "bc</w>": 7, "d</w>": 8}
MERGES = {("a", "b"): 0, ("ab", "c</w>"): 1, ("b", "c</w>"): 2, ("a", "bc</w>"): 3, ("x", "d</w>"): 4}
PARTS = find_parts(VOCAB, MERGES)


def examples_of(*texts, **targets):
    sequences = make_sequences([len(text) for text in texts])
    return Examples(replace(sequences, input_ids=np.concatenate(texts).astype(np.int32)), **targets)


def texts_of(examples):
    return [part.tolist() for part in np.split(examples.sequences.input_ids, examples.sequences.cu_seqlens[1:-1])]


def test_parts_are_those_of_the_first_merge():
    assert PARTS[VOCAB["abc</w>"]].tolist() == [VOCAB["ab"], VOCAB["c</w>"]]
    assert PARTS[VOCAB["d</w>"]].tolist() == [-1, -1]
    assert PARTS[VOCAB["a"]].tolist() == [-1, -1]


def test_every_token_is_split_down_to_characters():
    dropout = BpeDropout(PARTS, probability=1.0, max_length=100)
    before = examples_of([0, 6, 8, 1], [0, 5, 1], targets=np.array([3, 4]))
    after = dropout.apply(before, np.random.default_rng(0))
    assert texts_of(after) == [[0, 2, 3, 4, 8, 1], [0, 2, 3, 1]]
    assert after.targets.tolist() == [3, 4]


def test_label_stays_at_the_first_part():
    targets = np.array([NO_LABEL, 7, 9, NO_LABEL])
    before = examples_of([0, 6, 8, 1], targets=targets, per_token=True)
    after = BpeDropout(PARTS, 1.0, 100).apply(before, np.random.default_rng(0))
    assert after.targets.tolist() == [NO_LABEL, 7, NO_LABEL, NO_LABEL, 9, NO_LABEL]


def test_sequence_that_would_be_too_long_is_not_split():
    targets = np.array([NO_LABEL, 7, 9, NO_LABEL, NO_LABEL, 5, NO_LABEL])
    before = examples_of([0, 6, 8, 1], [0, 5, 1], targets=targets, per_token=True)
    after = BpeDropout(PARTS, 1.0, max_length=5).apply(before, np.random.default_rng(0))
    assert texts_of(after) == [[0, 6, 8, 1], [0, 2, 3, 1]]
    assert after.targets.tolist() == [NO_LABEL, 7, 9, NO_LABEL, NO_LABEL, 5, NO_LABEL, NO_LABEL]


def test_share_of_split_tokens():
    before = examples_of([0, *[5] * 5_000, 1])
    after = BpeDropout(PARTS, 0.1, 100_000).apply(before, np.random.default_rng(0))
    assert len(after.sequences.input_ids) - len(before.sequences.input_ids) == pytest.approx(500, abs=70)


def test_training_with_dropout_depends_on_the_seed_alone():
    parts = np.full((120, 2), 11)
    parts[:20] = -1

    def run(probability):
        trainer = make_trainer("tags", trained={"bpe_dropout": BpeDropout(parts, probability, 64)})
        return [trainer.run_step() for _ in range(3)]

    first, again, without = run(0.2), run(0.2), run(0.0)
    assert [step.loss for step in first] == [step.loss for step in again]
    assert all(step.num_tokens > plain.num_tokens for step, plain in zip(first, without, strict=True))


def test_objectives_have_steps_of_their_own_size():
    trainer = make_trainer("topic", "tags", trained={"tokens_per_step": 100})
    assert all(50 < trainer.run_step().num_tokens <= 100 for _ in range(4))
