"""Examples with random tokens for the training of reference models, and the same as padded tensors."""

import numpy as np
import torch

from tests.parity.reference_model import TINY
from xlm_core.decoding import Sequences
from xlm_core.model import Trunk
from xlm_core.ragged import cumulative_lengths
from xlm_core.training import Examples

MASK, NUM_SPECIAL = 5, 10
LENGTHS = [5, 2, 24, 7, 5, 12, 23, 3]


def make_examples(lengths=LENGTHS, targets=None, per_row=1, per_token=False):
    """Draw sequences; consecutive ones are a row."""
    rng = np.random.default_rng(0)
    lengths = np.asarray(lengths)
    sequences = Sequences(
        rng.integers(NUM_SPECIAL, TINY["vocab_size"], lengths.sum()).astype(np.int32),
        cumulative_lengths(lengths),
        rng.integers(0, TINY["n_langs"], len(lengths)).astype(np.int32),
        np.arange(0, len(lengths) + 1, per_row, dtype=np.int32),
        np.zeros(len(lengths), np.int32),
        np.empty(0, np.int32),
        np.empty((0, 2), np.int32),
    )
    return Examples(sequences, targets, per_token)


def pad(values, cu_seqlens, padding):
    """Pad packed values to [B, L]."""
    parts = torch.as_tensor(values).long().split(np.diff(cu_seqlens).tolist())
    return torch.nn.utils.rnn.pad_sequence(list(parts), True, padding)


def padded(sequences):
    """Return the arguments of a reference model for these sequences, each in a row of its own."""
    lengths, cu_seqlens = sequences.lengths, sequences.cu_seqlens
    return {
        "input_ids": pad(sequences.input_ids, cu_seqlens, TINY["pad_token_id"]),
        "langs": pad(np.repeat(sequences.langs, lengths), cu_seqlens, 0),
        "attention_mask": pad(np.ones(len(sequences.input_ids)), cu_seqlens, 0),
    }


def loss_of(objective, directory, examples):
    """Return the loss of prepared examples, with the trunk of a checkpoint."""
    trunk = Trunk.from_pretrained(directory).train()
    return objective.run(trunk, objective.make_batch(examples)).loss
