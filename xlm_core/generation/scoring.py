"""Scoring of texts: log-probabilities of their tokens under a causal or a masked model.

Letters: B sequences, T packed tokens, C masked copies of sequences, D model width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from xlm_core.model import PackedBatch, Write, run_passes, to_device
from xlm_core.ragged import IntArray, plan_batches, take_ragged

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from xlm_core.heads import LanguageModelHead
    from xlm_core.model import Trunk


def score_causal(head: LanguageModelHead, hidden_TD: Tensor, input_ids: Tensor, cu_seqlens: Tensor) -> Tensor:
    """Compute the log-probability of each token given the tokens before it in its sequence.

    The hidden state of the previous token predicts a token, as in the training of XLM's causal models.

    Args:
        head: on the device of the hidden states.
        hidden_TD: the output of a causal trunk.
        input_ids: int [T].
        cu_seqlens: int32 [B + 1].

    Returns:
        Log-probabilities, float32 [T]; NaN for the first token of each sequence, which is not predicted.
    """
    scores_T = hidden_TD.new_full((len(hidden_TD),), torch.nan, dtype=torch.float32)
    scores_T[1:] = head.token_log_probs(hidden_TD[:-1], input_ids[1:].long())
    # These were computed from the last token of the previous sequence. An assignment would wait for a GPU.
    return scores_T.index_fill_(0, cu_seqlens[:-1].long(), torch.nan)


@torch.inference_mode()
def score_masked(
    trunk: Trunk,
    head: LanguageModelHead,
    input_ids: IntArray,
    cu_seqlens: IntArray,
    langs: IntArray | None,
    scored: NDArray[np.bool_],
    mask_token_id: int,
    max_tokens: int,
    on_progress: Callable[[float], None] = lambda _: None,
) -> NDArray[np.float32]:
    """Compute the log-probability of each token given all other tokens of its sequence, by masking it.

    The sum over a sequence is its pseudo-log-likelihood (Salazar et al. 2020, arXiv:1910.14659). Each scored token
    needs a forward pass over a copy of its whole sequence. Copies are made batch by batch, so memory does not grow with
    their number.

    Args:
        trunk: a trunk that is not causal, in evaluation mode.
        head: on the same device.
        input_ids: [T], concatenated sequences.
        cu_seqlens: [B + 1].
        langs: [B]; -1, or None for all, adds no language embedding.
        scored: [T], the tokens to score, usually all but special tokens.
        mask_token_id: the mask token, which replaces the scored token.
        max_tokens: token budget of a batch of copies; a longer sequence runs alone. With 1, every copy runs alone and
            no score depends on other tokens or sequences, not even in the last bits.
        on_progress: receives the share of the tokens that are scored, from 0 to 1, when a batch's scores have arrived.

    Returns:
        Log-probabilities, float32 [T]; NaN where a token is not scored.

    Raises:
        ValueError: the trunk is causal, so predictions would ignore the tokens after the mask, or array shapes do not
            match.
    """
    if trunk.config.causal:
        raise ValueError("score_masked: got a causal trunk, expected a masked one; use score_causal")
    if scored.shape != input_ids.shape or scored.dtype != np.bool_:
        raise ValueError(f"scored: got {scored.dtype} {list(scored.shape)}, expected bool {list(input_ids.shape)}")
    device = trunk.embeddings.weight.device
    lengths = np.diff(cu_seqlens).astype(np.int64)
    token_C = np.flatnonzero(scored)
    sequence_C = np.repeat(np.arange(len(lengths)), lengths)[token_C]
    position_C = token_C - cu_seqlens[sequence_C]
    scores_T = np.full(len(input_ids), np.nan, np.float32)

    num_scored = 0

    def run_pass(index: NDArray[np.int64]) -> list[Write]:
        copies, cu_copies = take_ragged(input_ids, cu_seqlens, sequence_C[index])
        masked = cu_copies[:-1] + position_C[index]
        copies[masked] = mask_token_id
        batch = PackedBatch.from_ragged(copies, cu_copies, None if langs is None else langs[sequence_C[index]])
        hidden_TD = trunk.forward_packed(batch.to(device))
        masked_CD = hidden_TD[to_device(masked, device)]
        target_C = to_device(input_ids[token_C[index]].astype(np.int64), device)
        return [Write(scores_T, token_C[index], head.token_log_probs(masked_CD, target_C).float())]

    def on_arrival(index: NDArray[np.int64]) -> None:
        nonlocal num_scored
        num_scored += len(index)
        on_progress(num_scored / len(token_C))

    batches = plan_batches(lengths[sequence_C], max_tokens)
    run_passes(run_pass, batches, device, on_arrival, invariant=max_tokens == 1)
    return scores_T


def sum_scores(
    scores: NDArray[np.float32], scored: NDArray[np.bool_], cu_seqlens: IntArray
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Sum the log-probabilities of the scored tokens of each sequence.

    Args:
        scores: log-probabilities, float32 [T].
        scored: [T], the tokens to include; a NaN among them makes the sum NaN.
        cu_seqlens: [B + 1].

    Returns:
        The (pseudo-)log-likelihood, float64 [B], and the number of summed tokens, int64 [B].
    """
    sequences = np.repeat(np.arange(len(cu_seqlens) - 1), np.diff(cu_seqlens))[scored]
    sums = np.zeros(len(cu_seqlens) - 1)
    np.add.at(sums, sequences, scores[scored])  # adds in order, so a sum is bit-identical in any batch
    return sums, np.bincount(sequences, minlength=len(sums))


def perplexity(log_likelihood: NDArray[np.float64], num_scored: NDArray[np.int64]) -> NDArray[np.float64]:
    """Compute exp(-log-likelihood / num_scored), float64 [B]; NaN for no scored tokens, infinity above 1e308."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return np.exp(-log_likelihood / num_scored)
