"""The language model head: a distribution over the vocabulary for each token.

A masked checkpoint predicts the token that `<special1>`, its mask token, replaces; a causal checkpoint predicts the
next token. Scores are float32, or float64 if the head is, also in half precision: a float16 logit of 20 is rounded to
1/64, a bfloat16 logit to 1/8, which changes the order of words and the sum over a text.

Letters: N any number of tokens, D model width, V size of the vocabulary.
"""

from collections.abc import Iterator
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from xlm_core.checkpoint import ModelKind, XLMConfig, adaptive_softmax
from xlm_core.heads.head import TokenHead
from xlm_core.model import Linear, init_weights
from xlm_core.precision import HALF_DTYPES, upcast

NO_LABEL = -100
_MAX_SCORES = 1 << 25  # logits per chunk of rows: 128 MiB of float32; the softmax needs a few times as much
_SLICE_WORDS = 1 << 13  # 42 MB of float32 weights, at a width of 1,280


class FullSoftmax(nn.Module):
    """A projection to one logit per word of the vocabulary."""

    def __init__(self, config: XLMConfig) -> None:
        super().__init__()
        self.proj = Linear(config.emb_dim, config.vocab_size)

    def forward(self, hidden: Tensor) -> Tensor:
        """Compute logits, float32 [..., V], from [..., D]."""
        weight_VD, bias_V = self.proj.weight, self.proj.bias
        if weight_VD.dtype not in HALF_DTYPES:
            return self.proj(hidden.to(weight_VD.dtype))
        if weight_VD.is_cuda and not torch.is_grad_enabled():
            flat_ND = hidden.flatten(0, -2).to(weight_VD.dtype)
            logits_NV = torch.mm(flat_ND, weight_VD.T, out_dtype=torch.float32)  # on CUDA only
            return logits_NV.add_(bias_V).unflatten(0, hidden.shape[:-1])
        # No other kernel returns float32 for half precision; on a CPU this takes as long as in float32. A few words at
        # a time, because a float32 copy of the weight can take 1 GB.
        slices = zip(weight_VD.split(_SLICE_WORDS), bias_V.split(_SLICE_WORDS), strict=True)
        return torch.cat([F.linear(hidden.float(), words.float(), bias.float()) for words, bias in slices], dim=-1)

    def log_probs(self, hidden_ND: Tensor) -> Tensor:
        """Compute log-probabilities, float32 [N, V]."""
        return self(hidden_ND).log_softmax(-1)

    def token_log_probs(self, hidden_ND: Tensor, targets_N: Tensor) -> Tensor:
        """Compute the log-probabilities of the targets, float32 [N]."""
        logits_NV = upcast(self(hidden_ND))  # autocast returns half precision
        return logits_NV.gather(1, targets_N[:, None]).squeeze(1) - logits_NV.logsumexp(-1)


class AdaptiveSoftmax(nn.Module):
    """An adaptive softmax: rare words are grouped in clusters (Grave et al. 2017, arXiv:1609.04309)."""

    def __init__(self, config: XLMConfig) -> None:
        super().__init__()
        self.config = config
        self.proj = adaptive_softmax(config)

    def forward(self, hidden: Tensor, targets_N: Tensor | None = None) -> Tensor:
        """Compute log-probabilities, float32 [..., V], from [..., D]; an adaptive softmax has no logits.

        With targets, only their log-probabilities [N] from [N, D], skipping clusters that contain no target.
        """
        dtype = self.proj.head.weight.dtype
        if dtype in HALF_DTYPES:
            weights = {name: weight.float() for name, weight in self.named_parameters()}
            with torch.device("meta"):  # in another module, because other threads may use this one at the same time
                module = AdaptiveSoftmax(self.config)
            return functional_call(module, weights, (hidden, targets_N))
        if targets_N is not None:
            return self.proj(hidden.to(dtype), targets_N).output
        return self.proj.log_prob(hidden.flatten(0, -2).to(dtype)).unflatten(0, hidden.shape[:-1])

    def log_probs(self, hidden_ND: Tensor) -> Tensor:
        """Compute log-probabilities, float32 [N, V]."""
        return self(hidden_ND)

    def token_log_probs(self, hidden_ND: Tensor, targets_N: Tensor) -> Tensor:
        """Compute the log-probabilities of the targets, float32 [N]."""
        return self(hidden_ND, targets_N)


class LanguageModelHead(TokenHead):
    """Scores for every word of the vocabulary, for each token.

    Methods that return less than that (`token_log_probs`, `top_k`) process a limited number of rows at a time: the
    logits of 4,096 tokens over 200,000 words would take 3 GB.
    """

    kind: ClassVar[ModelKind] = "language-modeling"
    reference_class: ClassVar[str] = "XLMWithLMHeadModel"

    def __init__(self, config: XLMConfig) -> None:
        super().__init__(config)
        self.pred_layer = AdaptiveSoftmax(config) if config.asm else FullSoftmax(config)
        init_weights(self, config)

    def tie(self, embeddings: nn.Embedding) -> None:
        """Use a trunk's word embeddings as the weight of the projection; they become one shared parameter."""
        if isinstance(self.pred_layer, FullSoftmax):
            self.pred_layer.proj.weight = embeddings.weight

    def forward(self, hidden: Tensor) -> Tensor:
        """Compute logits [..., V] for hidden states of any leading shape; log-probabilities if `asm` is true."""
        return self.pred_layer(hidden)

    def log_probs(self, hidden_ND: Tensor) -> Tensor:
        """Compute the log-probability of every word, float32 [N, V]."""
        return self.pred_layer.log_probs(hidden_ND)

    def token_log_probs(self, hidden_ND: Tensor, targets_N: Tensor) -> Tensor:
        """Compute the log-probability of one word for each token.

        Args:
            hidden_ND: may have zero rows.
            targets_N: int64 [N], word ids.

        Returns:
            float32 [N].
        """
        return torch.cat(
            [self.pred_layer.token_log_probs(hidden_ND[rows], targets_N[rows]) for rows in self._chunks(hidden_ND)]
        )

    def top_k(self, hidden_ND: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Find the k most probable words for each token, best first.

        Returns:
            Probabilities, float32 [N, k], and word ids, int64 [N, k].

        Raises:
            ValueError: k is below 1 or above the size of the vocabulary.
        """
        if not 1 <= k <= self.config.vocab_size:
            raise ValueError(f"k: got {k}, expected 1 to {self.config.vocab_size} (vocab_size)")
        probs_Nk = hidden_ND.new_empty((len(hidden_ND), k), dtype=torch.float32)
        ids_Nk = hidden_ND.new_empty((len(hidden_ND), k), dtype=torch.int64)
        for rows in self._chunks(hidden_ND):
            best_log_probs, ids_Nk[rows] = self.log_probs(hidden_ND[rows]).topk(k)
            probs_Nk[rows] = best_log_probs.exp()
        return probs_Nk, ids_Nk

    def _chunks(self, hidden_ND: Tensor) -> Iterator[slice]:
        # zero rows give one empty chunk, so that the result always depends on the parameters
        num_rows = max(1, _MAX_SCORES // self.config.vocab_size)
        return (slice(start, start + num_rows) for start in range(0, max(len(hidden_ND), 1), num_rows))

    def loss(self, hidden: Tensor, labels: Tensor) -> Tensor:
        """Compute the cross-entropy over all tokens whose label is not -100.

        Labels are not shifted: each label is predicted at its own position. Only tokens with a label are projected.

        Args:
            hidden: [..., D].
            labels: int64 [...], word ids. Without any label the loss is NaN and the gradients are 0.

        Raises:
            ValueError: labels of a different shape.
        """
        if labels.shape != hidden.shape[:-1]:
            raise ValueError(f"labels: got shape {list(labels.shape)}, expected {list(hidden.shape[:-1])}")
        has_label = labels != NO_LABEL
        return -self.token_log_probs(hidden[has_label], labels[has_label]).mean()
