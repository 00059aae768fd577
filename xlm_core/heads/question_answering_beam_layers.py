"""The layers of the beam head for question answering, with the parameter names of checkpoints.

XLM adopted these layers from XLNet (Yang et al. 2019, arXiv:1906.08237).

Letters: B sequences, T packed tokens, D model width, S starts.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xlm_core.checkpoint import XLMConfig


class StartLogits(nn.Module):
    """Scores each token as the start of an answer."""

    def __init__(self, config: XLMConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.emb_dim, 1)

    def forward(self, hidden_TD: Tensor) -> Tensor:
        """Compute logits [T]."""
        return self.dense(hidden_TD).squeeze(-1)


class EndLogits(nn.Module):
    """Scores each token as the end of an answer with a given start."""

    def __init__(self, config: XLMConfig) -> None:
        super().__init__()
        self.dense_0 = nn.Linear(2 * config.emb_dim, config.emb_dim)
        self.LayerNorm = nn.LayerNorm(config.emb_dim, eps=config.layer_norm_eps)
        self.dense_1 = nn.Linear(config.emb_dim, 1)

    def forward(self, hidden_TD: Tensor, sequence_T: Tensor, start_SBD: Tensor) -> Tensor:
        """Compute logits [S, T].

        Args:
            hidden_TD: the trunk's output.
            sequence_T: int64 [T], index of the sequence of each token.
            start_SBD: vectors of S start tokens in each sequence.
        """
        # dense_0 takes concatenated (token, start) vectors. Applying its two halves separately avoids multiplying each
        # token S times, and looping over the starts avoids a [T, S, D] tensor.
        token_weight, start_weight = self.dense_0.weight.chunk(2, dim=1)
        token_TD = F.linear(hidden_TD, token_weight)
        logits = [
            self.dense_1(self.LayerNorm(torch.tanh(token_TD + start_BD[sequence_T]))).squeeze(-1)
            for start_BD in F.linear(start_SBD, start_weight, self.dense_0.bias)
        ]
        return torch.stack(logits)


class AnswerClass(nn.Module):
    """Scores each sequence: the higher, the less likely it contains an answer."""

    def __init__(self, config: XLMConfig) -> None:
        super().__init__()
        self.dense_0 = nn.Linear(2 * config.emb_dim, config.emb_dim)
        self.dense_1 = nn.Linear(config.emb_dim, 1, bias=False)

    def forward(self, start_BD: Tensor, class_BD: Tensor) -> Tensor:
        """Compute logits [B] from the vectors of the start and of the class token."""
        return self.dense_1(torch.tanh(self.dense_0(torch.cat([start_BD, class_BD], dim=-1)))).squeeze(-1)


class BeamLayers(nn.Module):
    """The layers for the start, the end and the answer class."""

    def __init__(self, config: XLMConfig) -> None:
        super().__init__()
        self.start_logits = StartLogits(config)
        self.end_logits = EndLogits(config)
        self.answer_class = AnswerClass(config)
