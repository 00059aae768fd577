"""The layers of the beam question answering head, under the checkpoints' names.

They are XLNet's (Yang et al. 2019, arXiv:1906.08237), which XLM checkpoints took over.

Letters: B sequences, T packed tokens, D model width, S starts.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xlm_core.checkpoint.config import XLMConfig


class StartLogits(nn.Module):
    """A score for each token as an answer's start."""

    def __init__(self, config: XLMConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.emb_dim, 1)

    def forward(self, hidden_TD: Tensor) -> Tensor:
        """Give logits, [T]."""
        return self.dense(hidden_TD).squeeze(-1)


class EndLogits(nn.Module):
    """A score for each token as the end of an answer whose start is known."""

    def __init__(self, config: XLMConfig) -> None:
        super().__init__()
        self.dense_0 = nn.Linear(2 * config.emb_dim, config.emb_dim)
        self.LayerNorm = nn.LayerNorm(config.emb_dim, eps=config.layer_norm_eps)
        self.dense_1 = nn.Linear(config.emb_dim, 1)

    def forward(self, hidden_TD: Tensor, sequence_T: Tensor, start_SBD: Tensor) -> Tensor:
        """Give logits, [S, T].

        Args:
            hidden_TD: the trunk's output.
            sequence_T: int64 [T], the number of each token's sequence.
            start_SBD: the start's vector in each sequence, for S starts.
        """
        # The layer takes (token, start); its two halves are applied apart, so that no token is multiplied S times,
        # and one start after the other, so that [T, S, D] is never there.
        of_token, of_start = self.dense_0.weight.chunk(2, dim=1)
        token_TD = F.linear(hidden_TD, of_token)
        logits = [
            self.dense_1(self.LayerNorm(torch.tanh(token_TD + start_BD[sequence_T]))).squeeze(-1)
            for start_BD in F.linear(start_SBD, of_start, self.dense_0.bias)
        ]
        return torch.stack(logits)


class AnswerClass(nn.Module):
    """A score for each sequence: that it holds no answer."""

    def __init__(self, config: XLMConfig) -> None:
        super().__init__()
        self.dense_0 = nn.Linear(2 * config.emb_dim, config.emb_dim)
        self.dense_1 = nn.Linear(config.emb_dim, 1, bias=False)

    def forward(self, start_BD: Tensor, class_BD: Tensor) -> Tensor:
        """Give logits [B] from the answer's start and the class token."""
        return self.dense_1(torch.tanh(self.dense_0(torch.cat([start_BD, class_BD], dim=-1)))).squeeze(-1)


class BeamLayers(nn.Module):
    """All three."""

    def __init__(self, config: XLMConfig) -> None:
        super().__init__()
        self.start_logits = StartLogits(config)
        self.end_logits = EndLogits(config)
        self.answer_class = AnswerClass(config)
