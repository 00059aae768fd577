"""The language model head: a distribution over the vocabulary for each token.

A masked checkpoint predicts the token at whose place `<special1>`, its mask token, stands; a causal one the next token.
Log-probabilities said to be float32 are float64 where the head is.

Letters: B sequences, T packed tokens, L padded length, N any number of tokens, D model width, V words.
"""

from collections.abc import Iterator
from typing import ClassVar

import torch
from torch import Tensor, nn

from xlm_core.checkpoint.config import XLMConfig
from xlm_core.checkpoint.names import Kind, adaptive_softmax
from xlm_core.heads.head import TokenHead
from xlm_core.model.trunk import init_weights
from xlm_core.precision import upcast

NO_LABEL = -100
_MAX_SCORES = 1 << 25  # 128 MiB of float32: what one chunk of rows may take, times a few for the softmax


class FullSoftmax(nn.Module):
    """A score for every word."""

    def __init__(self, config: XLMConfig) -> None:
        super().__init__()
        self.proj = nn.Linear(config.emb_dim, config.vocab_size)

    def forward(self, hidden: Tensor) -> Tensor:
        """Give logits [..., V] for [..., D]."""
        return self.proj(hidden.to(self.proj.weight.dtype))

    def log_probs(self, hidden_ND: Tensor) -> Tensor:
        """Give log-probabilities, float32 [N, V]."""
        return upcast(self(hidden_ND)).log_softmax(-1)

    def token_log_probs(self, hidden_ND: Tensor, targets_N: Tensor) -> Tensor:
        """Give the targets' log-probabilities, float32 [N]."""
        logits_NV = upcast(self(hidden_ND))
        return logits_NV.gather(1, targets_N[:, None]).squeeze(1) - logits_NV.logsumexp(-1)


class AdaptiveSoftmax(nn.Module):
    """Frequent words each by itself, rare ones by cluster (Grave et al. 2017, arXiv:1609.04309)."""

    def __init__(self, config: XLMConfig) -> None:
        super().__init__()
        self.proj = adaptive_softmax(config)

    def forward(self, hidden: Tensor) -> Tensor:
        """Give log-probabilities [..., V] for [..., D]; there is no other score."""
        flat_ND = hidden.flatten(0, -2).to(self.proj.head.weight.dtype)
        return self.proj.log_prob(flat_ND).unflatten(0, hidden.shape[:-1])

    def log_probs(self, hidden_ND: Tensor) -> Tensor:
        """Give log-probabilities, float32 [N, V]."""
        return upcast(self(hidden_ND))

    def token_log_probs(self, hidden_ND: Tensor, targets_N: Tensor) -> Tensor:
        """Give the targets' log-probabilities, float32 [N], without those of clusters that hold none of them."""
        return upcast(self.proj(hidden_ND.to(self.proj.head.weight.dtype), targets_N).output)


class LanguageModelHead(TokenHead):
    """Scores of all words for each token.

    What asks for less than all of them (`token_log_probs`, `top_k`) projects a bounded number of rows at a time:
    the scores of 4,096 tokens over 200,000 words would be 3 GB.
    """

    kind: ClassVar[Kind] = "language-modeling"
    reference_class: ClassVar[str] = "XLMWithLMHeadModel"

    def __init__(self, config: XLMConfig) -> None:
        super().__init__(config)
        self.pred_layer = AdaptiveSoftmax(config) if config.asm else FullSoftmax(config)
        init_weights(self, config)

    def tie(self, embeddings: nn.Embedding) -> None:
        """Use a trunk's word vectors as the projection's weight: one tensor from now on."""
        if isinstance(self.pred_layer, FullSoftmax):
            self.pred_layer.proj.weight = embeddings.weight

    def forward(self, hidden: Tensor) -> Tensor:
        """Give logits [..., V] for hidden states of any leading shape; log-probabilities where `asm` is set."""
        return self.pred_layer(hidden)

    def log_probs(self, hidden_ND: Tensor) -> Tensor:
        """Give the log-probability of every word, float32 [N, V]."""
        return self.pred_layer.log_probs(hidden_ND)

    def token_log_probs(self, hidden_ND: Tensor, targets_N: Tensor) -> Tensor:
        """Give the log-probability of one word for each token.

        Args:
            hidden_ND: N tokens, none at all included.
            targets_N: int64 [N], ids of the words.

        Returns:
            float32 [N].
        """
        return torch.cat(
            [self.pred_layer.token_log_probs(hidden_ND[rows], targets_N[rows]) for rows in self._chunks(hidden_ND)]
        )

    def top_k(self, hidden_ND: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Give the k most probable words of each token, the best first.

        Returns:
            Probabilities float32 [N, k], and ids int64 [N, k].

        Raises:
            ValueError: k below 1 or above the number of words.
        """
        if not 1 <= k <= self.config.vocab_size:
            raise ValueError(f"k: got {k}, expected 1 to {self.config.vocab_size} (vocab_size)")
        probs_Nk = hidden_ND.new_empty((len(hidden_ND), k), dtype=torch.float32)
        ids_Nk = hidden_ND.new_empty((len(hidden_ND), k), dtype=torch.int64)
        for rows in self._chunks(hidden_ND):
            best, ids_Nk[rows] = self.log_probs(hidden_ND[rows]).topk(k)
            probs_Nk[rows] = best.exp()
        return probs_Nk, ids_Nk

    def _chunks(self, hidden_ND: Tensor) -> Iterator[slice]:
        # of no rows one empty chunk, so that a result hangs on the parameters whatever its size
        num_rows = max(1, _MAX_SCORES // self.config.vocab_size)
        return (slice(start, start + num_rows) for start in range(0, max(len(hidden_ND), 1), num_rows))

    def loss(self, hidden: Tensor, labels: Tensor) -> Tensor:
        """Compute the cross-entropy over all tokens whose label is not -100.

        Labels are not shifted: each is predicted at its own place. Only the tokens that have one are projected.

        Args:
            hidden: [..., D].
            labels: int64 [...], ids of words. Where none is one, the loss is NaN, and gradients are 0.

        Raises:
            ValueError: labels of another shape.
        """
        if labels.shape != hidden.shape[:-1]:
            raise ValueError(f"labels: expected shape {list(hidden.shape[:-1])}, got {list(labels.shape)}")
        kept = labels != NO_LABEL
        return -self.token_log_probs(hidden[kept], labels[kept]).mean()
