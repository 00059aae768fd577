"""Training of a head over a frozen trunk: the trunk runs once on each example, and its output is kept in a file.

Letters: T tokens, D model width.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from xlm_core.ragged import cumulative_lengths, ragged_positions
from xlm_core.training.examples import Examples, KeptStates
from xlm_core.training.objectives import Objective
from xlm_core.training.samplers import split_step

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from xlm_core.model import Trunk


def freeze(
    examples: Examples,
    trunk: Trunk,
    objective: Objective,
    path: Path,
    max_tokens: int,
    autocast: torch.dtype | None = None,
) -> Examples:
    """Run a frozen trunk on examples, and keep what the head reads of its output.

    Args:
        examples: all examples of a sampler, or dev examples.
        trunk: is set to evaluation mode.
        objective: decides what is kept: one vector per sequence if the head pools, else those of the tokens it reads.
        path: the file that is written, 4 bytes times D for each vector. It must stay as long as the examples.
        max_tokens, autocast: see `TrainerSettings`.

    Returns:
        Examples whose batches need no trunk. Samplers draw the same rows of them.

    Raises:
        ValueError: the trunk's input is random, as with masked tokens.
    """
    if type(objective).prepare is not Objective.prepare:
        raise ValueError(f"objective: got {type(objective).__name__}, whose input to the trunk differs in each step")
    is_kept = objective.mark_kept_tokens(examples)
    kept = _select_tokens(examples, is_kept)
    offsets = kept.token_offsets
    values = _create_array(path, int(offsets[-1]), trunk.config.emb_dim)
    device = trunk.embeddings.weight.device
    trunk.eval()
    for rows in split_step(examples, max_tokens, 1, sort=True):
        batch = objective.make_batch(examples.take(rows)).to(device)
        enabled = autocast is not None
        with torch.no_grad(), torch.autocast(device.type, autocast or torch.bfloat16, enabled=enabled):
            hidden_TD = objective.run_trunk(trunk, batch)
        if objective.pool is not None:
            states = objective.pool(hidden_TD, batch.packed.cu_seqlens)
        else:
            tokens = ragged_positions(examples.token_offsets, rows)
            states = hidden_TD[torch.from_numpy(is_kept[tokens]).to(device)]
        values[ragged_positions(offsets, rows)] = states.float().cpu().numpy()
    return replace(kept, states=KeptStates(values, offsets[:-1], examples.row_lengths))


def _create_array(path: Path, num_vectors: int, dim: int) -> NDArray[np.float32]:
    """Create a file that is mapped to memory.

    Raises:
        OSError: the disk is full. Without reserved space, a write to memory would end the process.
    """
    with path.open("wb") as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, 4 * num_vectors * dim)
    return np.memmap(path, np.float32, "r+" if path.stat().st_size else "w+", shape=(num_vectors, dim))


def _select_tokens(examples: Examples, is_kept: NDArray[np.bool_]) -> Examples:
    """Return the examples with some of their tokens, at least one of each sequence."""
    sequences = examples.sequences
    selected = replace(
        sequences,
        input_ids=sequences.input_ids[is_kept],
        cu_seqlens=cumulative_lengths(np.add.reduceat(is_kept, sequences.cu_seqlens[:-1], dtype=np.int64)),
        word_ids=sequences.word_ids[is_kept] if len(sequences.word_ids) else sequences.word_ids,
        offsets=sequences.offsets[is_kept] if len(sequences.offsets) else sequences.offsets,
    )
    targets = examples.targets
    if targets is not None and examples.per_token:
        targets = targets[is_kept]
    return Examples(selected, targets, examples.per_token)
