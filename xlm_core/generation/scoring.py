"""How likely a text is: log-probabilities of its tokens, under a causal model or a masked one.

Letters: B sequences, T packed tokens, C copies of sequences, D model width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from xlm_core.model.packing import IntArray, PackedBatch, plan_batches, take_ragged

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xlm_core.heads import LanguageModelHead
    from xlm_core.model.trunk import Trunk


def score_causal(head: LanguageModelHead, hidden_TD: Tensor, input_ids: Tensor, cu_seqlens: Tensor) -> Tensor:
    """Score each token given those before it in its sequence.

    The prediction is the state of the token before, which is what XLM's causal objective trains.

    Args:
        head: on the states' device.
        hidden_TD: the output of a causal trunk.
        input_ids: int [T].
        cu_seqlens: int32 [B + 1].

    Returns:
        Log-probabilities, float32 [T]; NaN for each sequence's first token, which nothing predicts.
    """
    scores_T = hidden_TD.new_full((len(hidden_TD),), torch.nan, dtype=torch.float32)
    scores_T[1:] = head.token_log_probs(hidden_TD[:-1], input_ids[1:].long())
    scores_T[cu_seqlens[:-1].long()] = torch.nan  # it was scored after another sequence's last token
    return scores_T


@torch.inference_mode()
def score_masked(
    trunk: Trunk,
    head: LanguageModelHead,
    ids: IntArray,
    cu_seqlens: IntArray,
    langs: IntArray | None,
    scored: NDArray[np.bool_],
    mask_id: int,
    max_tokens: int,
) -> NDArray[np.float32]:
    """Score each token given all others of its sequence, by masking it (Salazar et al. 2020, arXiv:1910.14659).

    The sum over a sequence is its pseudo-log-likelihood. Every scored token costs a run of its whole sequence;
    these copies are made batch by batch, so that memory does not grow with their number.

    Args:
        trunk: one that is not causal, in evaluation mode.
        head: on the same device.
        ids: [T], sequences end to end.
        cu_seqlens: [B + 1].
        langs: [B]; -1, or None for all, adds no language vector.
        scored: [T], which tokens to score; special tokens say nothing about a text.
        mask_id: the token that stands in for the one scored.
        max_tokens: token budget of a batch of copies; a longer sequence runs alone. With 1 every copy runs alone, so
            that no score depends on other tokens or sequences, not even in the last bits.

    Returns:
        Log-probabilities, float32 [T]; NaN where a token is not scored.

    Raises:
        ValueError: a causal trunk, in which a masked token would not see what follows it, or arrays that do not fit.
    """
    if trunk.config.causal:
        raise ValueError("score_masked: the trunk is causal, expected a masked one; use score_causal")
    if scored.shape != ids.shape or scored.dtype != np.bool_:
        raise ValueError(f"scored: expected bool {list(ids.shape)}, got {scored.dtype} {list(scored.shape)}")
    device = trunk.embeddings.weight.device
    lengths = np.diff(cu_seqlens).astype(np.int64)
    token_C = np.flatnonzero(scored)
    sequence_C = np.repeat(np.arange(len(lengths)), lengths)[token_C]
    place_C = token_C - cu_seqlens[sequence_C]
    scores_T = torch.full((len(ids),), torch.nan, device=device)
    for index in plan_batches(lengths[sequence_C], max_tokens):
        copies, cu_copies = take_ragged(ids, cu_seqlens, sequence_C[index])
        masked = cu_copies[:-1] + place_C[index]
        copies[masked] = mask_id
        batch = PackedBatch.from_ragged(copies, cu_copies, None if langs is None else langs[sequence_C[index]])
        hidden_TD = trunk.forward_packed(batch.to(device))
        masked_CD = hidden_TD[torch.from_numpy(masked).to(device)]
        target_C = torch.from_numpy(ids[token_C[index]].astype(np.int64)).to(device)
        scores_T[torch.from_numpy(token_C[index]).to(device)] = head.token_log_probs(masked_CD, target_C).float()
    return scores_T.cpu().numpy()


def sum_scores(
    scores: NDArray[np.float32], scored: NDArray[np.bool_], cu_seqlens: IntArray
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Add up each sequence's scored tokens.

    Args:
        scores: log-probabilities, float32 [T].
        scored: [T], which of them count; a NaN among them stays visible in the sum.
        cu_seqlens: [B + 1].

    Returns:
        The (pseudo-)log-likelihood, float64 [B], and the number of tokens it covers, int64 [B].
    """
    sequences = np.repeat(np.arange(len(cu_seqlens) - 1), np.diff(cu_seqlens))[scored]
    sums = np.zeros(len(cu_seqlens) - 1)
    np.add.at(sums, sequences, scores[scored])  # adds in order, so that a sum has the same bits whatever its neighbours
    return sums, np.bincount(sequences, minlength=len(sums))


def perplexity(log_likelihood: NDArray[np.float64], num_scored: NDArray[np.int64]) -> NDArray[np.float64]:
    """Give exp(-log-likelihood / tokens scored), float64 [B]; NaN for a sequence with none, infinity past 1e308."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return np.exp(-log_likelihood / num_scored)
