"""Heads over the trunk's hidden states: pooling, sequence classification, token classification.

A head is a module of its own with `forward_packed(hidden_TD, cu_seqlens)`, so that several can share one pass of
the trunk; the XLMFor… classes are a trunk and a head under one roof, and add the reference's padded interface.

Letters: B sequences, T packed tokens, L padded length, D model width, C labels.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar, Unpack

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xlm_core.checkpoint import PretrainedModule
from xlm_core.checkpoint_names import Kind, Part
from xlm_core.config import XLMConfig
from xlm_core.errors import FatalError
from xlm_core.model import HiddenStates, PaddedInputs, XLMModel, init_weights
from xlm_core.packing import PackedBatch

Pooling = Callable[[Tensor, Tensor], Tensor]
"""hidden_TD and cu_seqlens [B + 1] to float32 [B, D]."""


def first_pool(hidden_TD: Tensor, cu_seqlens: Tensor) -> Tensor:
    """Take each sequence's first token; float32 [B, D]."""
    return hidden_TD[cu_seqlens[:-1].long()].float()


def last_pool(hidden_TD: Tensor, cu_seqlens: Tensor) -> Tensor:
    """Take each sequence's last token, never a pad; float32 [B, D]."""
    return hidden_TD[cu_seqlens[1:].long() - 1].float()


def mean_pool(hidden_TD: Tensor, cu_seqlens: Tensor) -> Tensor:
    """Average each sequence's tokens, special tokens included.

    Returns:
        float32 [B, D]; sums in bfloat16 would lose digits past a few hundred tokens. Each sum runs over its own
        sequence in order, and so does not depend on the neighbours.
    """
    return _reduce("mean", hidden_TD, cu_seqlens)


def max_pool(hidden_TD: Tensor, cu_seqlens: Tensor) -> Tensor:
    """Take the largest value of each dimension over a sequence's tokens; float32 [B, D]."""
    return _reduce("max", hidden_TD, cu_seqlens)


def _reduce(how: str, hidden_TD: Tensor, cu_seqlens: Tensor) -> Tensor:
    # unsafe skips a check of the lengths that would wait for the GPU; a PackedBatch has done it
    return torch.segment_reduce(hidden_TD.float(), how, lengths=cu_seqlens.long().diff(), axis=0, unsafe=True)


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

    `cls_index` takes the token it is given, and without one the last token, as the reference does.
    """

    def __init__(self, config: XLMConfig) -> None:
        super().__init__()
        self.pool = POOLINGS["last" if config.summary_type == "cls_index" else config.summary_type]
        self.takes_index = config.summary_type == "cls_index"
        self.first_dropout = nn.Dropout(config.summary_first_dropout)
        self.width = config.emb_dim
        self.summary: nn.Linear | nn.Identity = nn.Identity()
        if config.summary_use_proj:
            if config.summary_proj_to_labels and config.num_labels > 0:
                self.width = config.num_labels
            self.summary = nn.Linear(config.emb_dim, self.width)
        self.activation = _ACTIVATIONS[config.summary_activation]()
        self.last_dropout = nn.Dropout(config.summary_last_dropout)

    def forward_packed(self, hidden_TD: Tensor, cu_seqlens: Tensor, cls_index: Tensor | None = None) -> Tensor:
        """Summarise each sequence.

        Args:
            hidden_TD: the trunk's output.
            cu_seqlens: int32 [B + 1].
            cls_index: [B], number of the class token within each sequence; for `cls_index` summaries only.

        Returns:
            [B, C] or [B, D], in the projection's precision; float32 where there is no projection.
        """
        if cls_index is not None and self.takes_index:
            pooled_BD = hidden_TD[cu_seqlens[:-1].long() + cls_index].float()
        else:
            pooled_BD = self.pool(hidden_TD, cu_seqlens)
        if isinstance(self.summary, nn.Linear):
            pooled_BD = pooled_BD.to(self.summary.weight.dtype)
        return self.last_dropout(self.activation(self.summary(self.first_dropout(pooled_BD))))


class SequenceClassificationHead(PretrainedModule):
    """Scores per label for each sequence, or the values of a regression."""

    kind: ClassVar[Kind] = "sequence-classification"
    parts: ClassVar[tuple[Part, ...]] = ("head",)
    reference_class: ClassVar[str] = "XLMForSequenceClassification"

    def __init__(self, config: XLMConfig) -> None:
        super().__init__(config)
        self.sequence_summary = SequenceSummary(config)
        init_weights(self, config)

    def forward_packed(self, hidden_TD: Tensor, cu_seqlens: Tensor) -> Tensor:
        """Give logits_BC; see `SequenceSummary` for their width and precision."""
        return self.sequence_summary.forward_packed(hidden_TD, cu_seqlens)

    def loss(self, logits_BC: Tensor, labels: Tensor) -> Tensor:
        """Compute the loss that `problem_type` names.

        Without a `problem_type`: regression for one label, else single-label for integer labels [B], else
        multi-label for floats [B, C].
        """
        num_labels, problem = self.config.num_labels, self.config.problem_type
        if problem is None:
            integral = labels.dtype in (torch.int64, torch.int32)
            several = "single_label_classification" if integral else "multi_label_classification"
            problem = "regression" if num_labels == 1 else several
        if logits_BC.shape[-1] != num_labels:
            raise ValueError(
                f"labels: a loss over {num_labels} labels needs as many logits, got {logits_BC.shape[-1]};"
                " set summary_use_proj and summary_proj_to_labels"
            )
        if problem == "regression":
            return F.mse_loss(logits_BC.squeeze(), labels.squeeze())
        if problem == "single_label_classification":
            return F.cross_entropy(logits_BC, labels.view(-1).long())
        return F.binary_cross_entropy_with_logits(logits_BC, labels)


class TokenClassificationHead(PretrainedModule):
    """Scores per label for each token."""

    kind: ClassVar[Kind] = "token-classification"
    parts: ClassVar[tuple[Part, ...]] = ("head",)
    reference_class: ClassVar[str] = "XLMForTokenClassification"

    def __init__(self, config: XLMConfig) -> None:
        super().__init__(config)
        if config.num_labels < 1:
            raise FatalError("configuration field id2label: got no label, expected at least one to classify tokens")
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(config.emb_dim, config.num_labels)
        init_weights(self, config)

    def forward_packed(self, hidden_TD: Tensor, cu_seqlens: Tensor) -> Tensor:
        """Give logits_TC; `cu_seqlens` is there so that all heads are called alike."""
        del cu_seqlens
        return self(hidden_TD)

    def forward(self, hidden: Tensor) -> Tensor:
        """Give logits for hidden states of any leading shape."""
        return self.classifier(self.dropout(hidden.to(self.classifier.weight.dtype)))

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Compute the cross-entropy over all tokens whose label is not -100."""
        return F.cross_entropy(logits.reshape(-1, self.config.num_labels), labels.reshape(-1).long())


@dataclass(frozen=True)
class ClassifierOutput:
    """What the padded interface of a classifier returns."""

    logits: Tensor  # [B, C], or [B, L, C] for tokens
    loss: Tensor | None = None  # where labels were given
    hidden_states: HiddenStates | None = None  # each [B, L, D]


Head = TypeVar("Head", SequenceClassificationHead, TokenClassificationHead)


class TrunkWithHead(PretrainedModule, Generic[Head]):
    """A trunk and a head under one roof; the XLMFor… classes add the reference's padded interface."""

    parts: ClassVar[tuple[Part, ...]] = ("trunk", "head")

    def __init__(self, config: XLMConfig, head: Head) -> None:
        super().__init__(config)
        self.trunk = XLMModel(config)
        self.head = head

    def forward_packed(self, batch: PackedBatch, *, invariant: bool = False) -> Tensor:
        """Give the head's logits; for `invariant`, see `XLMModel.forward_packed`, here head included."""
        if invariant:
            return torch.cat([self.forward_packed(one) for one in batch.split()])
        return self.head.forward_packed(self.trunk.forward_packed(batch), batch.cu_seqlens)


class XLMForSequenceClassification(TrunkWithHead[SequenceClassificationHead]):
    """The trunk with a sequence classification head."""

    kind: ClassVar[Kind] = "sequence-classification"
    reference_class: ClassVar[str] = "XLMForSequenceClassification"

    def __init__(self, config: XLMConfig) -> None:
        super().__init__(config, SequenceClassificationHead(config))

    def forward(
        self,
        input_ids: Tensor | None = None,
        *,
        labels: Tensor | None = None,
        output_hidden_states: bool | None = None,
        **inputs: Unpack[PaddedInputs],
    ) -> ClassifierOutput:
        """Run padded tensors, with the reference's arguments.

        `last`, `mean` and `cls_index` summaries see real tokens only; the reference's see the pads too.

        Args:
            input_ids: [B, L].
            labels: [B] class ids or values, or [B, C] for several labels at once.
            output_hidden_states: also return every layer's; the configuration's choice if not given.
            inputs: see `PaddedInputs`.
        """
        hidden_TD, batch, _, states = self.trunk.encode_padded(input_ids, output_hidden_states, **inputs)
        logits_BC = self.head.forward_packed(hidden_TD, batch.cu_seqlens)
        loss = None if labels is None else self.head.loss(logits_BC, labels)
        return ClassifierOutput(logits_BC, loss, states)


class XLMForTokenClassification(TrunkWithHead[TokenClassificationHead]):
    """The trunk with a token classification head."""

    kind: ClassVar[Kind] = "token-classification"
    reference_class: ClassVar[str] = "XLMForTokenClassification"

    def __init__(self, config: XLMConfig) -> None:
        super().__init__(config, TokenClassificationHead(config))

    def forward(
        self,
        input_ids: Tensor | None = None,
        *,
        labels: Tensor | None = None,
        output_hidden_states: bool | None = None,
        **inputs: Unpack[PaddedInputs],
    ) -> ClassifierOutput:
        """Run padded tensors, with the reference's arguments.

        Args:
            input_ids: [B, L].
            labels: [B, L] class ids; -100 where there is none, pads included.
            output_hidden_states: also return every layer's; the configuration's choice if not given.
            inputs: see `PaddedInputs`.
        """
        hidden_TD, _, layout, states = self.trunk.encode_padded(input_ids, output_hidden_states, **inputs)
        logits_BLC = self.head(layout.unpack(hidden_TD))  # at pads, the logits of a zero vector
        loss = None if labels is None else self.head.loss(logits_BLC, labels)
        return ClassifierOutput(logits_BLC, loss, states)
