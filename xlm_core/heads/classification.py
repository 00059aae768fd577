"""Heads for sequence classification and token classification.

Letters: B sequences, T packed tokens, C labels.
"""

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xlm_core.checkpoint import ModelKind, XLMConfig
from xlm_core.errors import FatalError
from xlm_core.heads.head import ScoringHead, TokenHead
from xlm_core.heads.pooling import SequenceSummary
from xlm_core.model import init_weights


class SequenceClassificationHead(ScoringHead):
    """Scores for each label of a sequence, or the values of a regression."""

    kind: ClassVar[ModelKind] = "sequence-classification"
    reference_class: ClassVar[str] = "XLMForSequenceClassification"

    def __init__(self, config: XLMConfig) -> None:
        super().__init__(config)
        self.sequence_summary = SequenceSummary(config)
        init_weights(self, config)

    @property
    def layer(self) -> int:
        """See `Head`. With 0, the head reads the embeddings, a bag of words, and needs no layer at all."""
        return self.config.summary_layer

    def forward_packed(self, hidden_TD: Tensor, cu_seqlens: Tensor) -> Tensor:
        """Compute logits_BC; see `SequenceSummary` for their width and precision."""
        return self.sequence_summary.forward_packed(hidden_TD, cu_seqlens)

    def loss(self, logits_BC: Tensor, labels: Tensor) -> Tensor:
        """Compute the loss that `problem_type` specifies.

        Without a `problem_type`: regression if there is one label, else single-label classification for integer labels
        [B], else multi-label classification for floating point labels [B, C].
        """
        num_labels, problem = self.config.num_labels, self.config.problem_type
        if problem is None:
            is_integer = labels.dtype in (torch.int64, torch.int32)
            classification = "single_label_classification" if is_integer else "multi_label_classification"
            problem = "regression" if num_labels == 1 else classification
        if logits_BC.shape[-1] != num_labels:
            raise ValueError(
                f"logits: got width {logits_BC.shape[-1]}, expected {num_labels} (the number of labels) to compute the "
                "loss; set summary_use_proj and summary_proj_to_labels"
            )
        if problem == "regression":
            return F.mse_loss(logits_BC.squeeze(), labels.squeeze())
        if problem == "single_label_classification":
            return F.cross_entropy(logits_BC, labels.view(-1).long())
        return F.binary_cross_entropy_with_logits(logits_BC, labels)


class TokenClassificationHead(TokenHead):
    """Scores for each label of a token."""

    kind: ClassVar[ModelKind] = "token-classification"
    reference_class: ClassVar[str] = "XLMForTokenClassification"

    def __init__(self, config: XLMConfig) -> None:
        super().__init__(config)
        if config.num_labels < 1:
            raise FatalError("configuration field id2label: got no labels, expected at least one to classify tokens")
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(config.emb_dim, config.num_labels)
        init_weights(self, config)

    def forward(self, hidden: Tensor) -> Tensor:
        """Compute logits for hidden states of any leading shape."""
        return self.classifier(self.dropout(hidden.to(self.classifier.weight.dtype)))

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Compute the cross-entropy over all tokens whose label is not -100."""
        return F.cross_entropy(logits.reshape(-1, self.config.num_labels), labels.reshape(-1).long())
