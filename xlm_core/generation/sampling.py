"""Sampling of the next token: filters of the distribution, and random draws that depend only on the text.

Letters: B sequences, V size of the vocabulary, S steps.
"""

import hashlib

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from xlm_core.ragged import IntArray

_BYTES_PER_DRAW = 8
_MIN_TEMPERATURE = torch.finfo(torch.float32).tiny  # a smaller float32 has no finite inverse
_DRAW_BITS = 52  # of the 53 of a float64, so that a draw times a sum of probabilities is always below the sum


def filter_scores(scores_BV: Tensor, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0) -> Tensor:
    """Filter a distribution before sampling: temperature, then top-k, then top-p, each applied to the previous result.

    Args:
        scores_BV: float32 logits or log-probabilities.
        temperature: divides the scores; above 0. Values near 0 keep only the best token.
        top_k: keep this many best tokens, and tokens equal to the last of them; 0 keeps all tokens.
        top_p: keep a token if the tokens ranked above it have a total probability below this value (nucleus sampling,
            Holtzman et al. 2020, arXiv:1904.09751); above 0, and 1 keeps all tokens.

    Returns:
        Scores [B, V], minus infinity for removed tokens; at least one token is kept.
    """
    # subtracting the best score first keeps it at 0 for any temperature, so that it never becomes infinite
    scores_BV = (scores_BV - scores_BV.amax(-1, keepdim=True)) / max(temperature, _MIN_TEMPERATURE)
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
    """Sample a token from each distribution: the first token whose cumulative probability exceeds the draw.

    Args:
        scores_BV: logits or log-probabilities; tokens with minus infinity are never sampled.
        draws_B: float64, uniform in [0, 1), from `text_draws`.

    Returns:
        int64 [B].
    """
    # float64, because a float32 sum over 200,000 words would lose the rare ones
    cumulative_BV = scores_BV.softmax(-1, dtype=torch.float64).cumsum(-1)
    return torch.searchsorted(cumulative_BV, draws_B[:, None] * cumulative_BV[:, -1:], right=True).squeeze(1)


def text_draws(seed: int, lang: int, ids: IntArray, num_draws: int) -> NDArray[np.float64]:
    """Draw uniform random numbers that depend only on the seed and the text, not on the batch, machine or run.

    The numbers are the output of SHAKE-256 for seed, language and ids, so no state of a generator is needed.

    Returns:
        float64 [S], in [0, 1); a longer series starts with the shorter one.
    """
    key = f"{seed} {lang} ".encode() + np.ascontiguousarray(ids, "<i4").tobytes()
    stream = hashlib.shake_256(key).digest(num_draws * _BYTES_PER_DRAW)
    return np.ldexp((np.frombuffer(stream, "<u8") >> np.uint64(64 - _DRAW_BITS)).astype(np.float64), -_DRAW_BITS)
