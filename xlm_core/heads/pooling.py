"""One vector per sequence: poolings, and the summary used by sequence classification and multiple choice.

Letters: B sequences, T packed tokens, D model width, C labels.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from xlm_core.checkpoint import XLMConfig
from xlm_core.precision import upcast

Pooling = Callable[[Tensor, Tensor], Tensor]
"""Maps hidden_TD and cu_seqlens [B + 1] to float32 [B, D], or float64 if hidden_TD is float64."""


def first_pool(hidden_TD: Tensor, cu_seqlens: Tensor) -> Tensor:
    """Return the vector of the first token of each sequence; float32 [B, D]."""
    return upcast(hidden_TD[cu_seqlens[:-1].long()])


def last_pool(hidden_TD: Tensor, cu_seqlens: Tensor) -> Tensor:
    """Return the vector of the last token of each sequence, never a pad; float32 [B, D]."""
    return upcast(hidden_TD[cu_seqlens[1:].long() - 1])


def mean_pool(hidden_TD: Tensor, cu_seqlens: Tensor) -> Tensor:
    """Average the token vectors of each sequence, special tokens included.

    Returns:
        float32 [B, D]; bfloat16 sums lose digits past a few hundred tokens. Each sum adds the tokens of one sequence in
        order, so it does not depend on the other sequences.
    """
    return _reduce("mean", hidden_TD, cu_seqlens)


def max_pool(hidden_TD: Tensor, cu_seqlens: Tensor) -> Tensor:
    """Return the maximum of each dimension over the tokens of a sequence; float32 [B, D]."""
    return _reduce("max", hidden_TD, cu_seqlens)


def _reduce(reduction: str, hidden_TD: Tensor, cu_seqlens: Tensor) -> Tensor:
    # unsafe=True skips a check of the lengths that would synchronize with the GPU; PackedBatch has already checked them
    return torch.segment_reduce(upcast(hidden_TD), reduction, lengths=cu_seqlens.long().diff(), axis=0, unsafe=True)


POOLINGS: dict[str, Pooling] = {"first": first_pool, "last": last_pool, "mean": mean_pool, "max": max_pool}

_ACTIVATIONS: dict[str | None, Callable[[], nn.Module]] = {
    None: nn.Identity,
    "": nn.Identity,
    "linear": nn.Identity,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "sigmoid": nn.Sigmoid,
    "silu": nn.SiLU,
    "swish": nn.SiLU,
}


class SequenceSummary(nn.Module):
    """One vector per sequence: pool, dropout, projection, activation, dropout.

    A `cls_index` summary uses the last token: the reference's models never pass another index to theirs.
    """

    def __init__(self, config: XLMConfig) -> None:
        super().__init__()
        self.pool = POOLINGS["last" if config.summary_type == "cls_index" else config.summary_type]
        self.first_dropout = nn.Dropout(config.summary_first_dropout)
        self.width = config.emb_dim
        self.summary: nn.Linear | nn.Identity = nn.Identity()
        if config.summary_use_proj:
            if config.summary_proj_to_labels and config.num_labels > 0:
                self.width = config.num_labels
            self.summary = nn.Linear(config.emb_dim, self.width)
        self.activation = _ACTIVATIONS[config.summary_activation]()
        self.last_dropout = nn.Dropout(config.summary_last_dropout)

    def forward_packed(self, hidden_TD: Tensor, cu_seqlens: Tensor) -> Tensor:
        """Compute the summary of each sequence.

        Returns:
            [B, C] or [B, D], in the precision of the projection, or of the pooling if there is no projection.
        """
        pooled_BD = self.pool(hidden_TD, cu_seqlens)
        if isinstance(self.summary, nn.Linear):
            pooled_BD = pooled_BD.to(self.summary.weight.dtype)
        return self.last_dropout(self.activation(self.summary(self.first_dropout(pooled_BD))))
