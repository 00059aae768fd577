"""Choosing the next token from the scores of the vocabulary: filters, draws that belong to a text, selection.

Letters: B sequences, V words of the vocabulary, S steps.
"""

import hashlib

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from xlm_core.model.packing import IntArray

_BYTES_PER_DRAW = 8
_LEAST_TEMPERATURE = torch.finfo(torch.float32).tiny  # a float of less has no finite inverse
_DRAW_BITS = 52  # of a double's 53, so that a draw times a sum of probabilities is always below the sum


def filter_scores(scores_BV: Tensor, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0) -> Tensor:
    """Reshape a distribution before it is sampled: temperature, then top-k, then top-p, each on the one before.

    Args:
        scores_BV: float32 logits or log-probabilities.
        temperature: divides the scores; above 0, and what is next to nothing takes the best token.
        top_k: keep this many best tokens, and those equal to the last of them; 0 keeps all.
        top_p: of the tokens from the best down, keep those before which less than this share of the probability
            lies (nucleus sampling, Holtzman et al. 2020, arXiv:1904.09751); above 0, and 1 keeps all.

    Returns:
        Scores [B, V], minus infinity for tokens filtered out; at least one is left.
    """
    # the best score is 0 first: however small the temperature, it stays 0, and no difference becomes infinite
    scores_BV = (scores_BV - scores_BV.amax(-1, keepdim=True)) / max(temperature, _LEAST_TEMPERATURE)
    if 0 < top_k < scores_BV.shape[-1]:
        worst_B1 = scores_BV.topk(top_k).values[:, -1:]
        scores_BV = scores_BV.masked_fill(scores_BV < worst_B1, -torch.inf)
    if top_p < 1.0:
        ranked_BV, order_BV = scores_BV.sort(descending=True)
        probs_BV = ranked_BV.softmax(-1, dtype=torch.float64)
        outside_BV = probs_BV.cumsum(-1) - probs_BV >= top_p
        scores_BV = scores_BV.masked_fill(outside_BV.scatter(1, order_BV, outside_BV), -torch.inf)
    return scores_BV


def sample(scores_BV: Tensor, draws_B: Tensor) -> Tensor:
    """Sample a token from each distribution: the first whose cumulative probability exceeds the draw.

    Args:
        scores_BV: logits or log-probabilities; minus infinity is never sampled.
        draws_B: float64, uniform in [0, 1), as `text_draws` makes them.

    Returns:
        int64 [B].
    """
    # in doubles: a float's sum over 200,000 words would lose the rare ones
    cumulative_BV = scores_BV.softmax(-1, dtype=torch.float64).cumsum(-1)
    return torch.searchsorted(cumulative_BV, draws_B[:, None] * cumulative_BV[:, -1:], right=True).squeeze(1)


def text_draws(seed: int, lang: int, ids: IntArray, num_draws: int) -> NDArray[np.float64]:
    """Draw uniform numbers that belong to a text: the same whatever its batch, its order, the machine or the run.

    They are the output of SHAKE-256 over seed, language and ids, so that no generator's state is carried along.

    Returns:
        float64 [S], in [0, 1); a longer series begins with the shorter.
    """
    key = f"{seed} {lang} ".encode() + np.ascontiguousarray(ids, "<i4").tobytes()
    stream = hashlib.shake_256(key).digest(num_draws * _BYTES_PER_DRAW)
    return np.ldexp((np.frombuffer(stream, "<u8") >> np.uint64(64 - _DRAW_BITS)).astype(np.float64), -_DRAW_BITS)
