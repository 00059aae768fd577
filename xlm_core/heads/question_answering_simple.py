"""The simple head for question answering: scores each token as the start and as the end of an answer.

Letters: B sequences, L padded length.
"""

from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from xlm_core.checkpoint import ModelKind, XLMConfig
from xlm_core.errors import FatalError, format_count
from xlm_core.heads.head import TokenHead
from xlm_core.model import init_weights


class QuestionAnsweringSimpleHead(TokenHead):
    """A start logit and an end logit for each token."""

    kind: ClassVar[ModelKind] = "question-answering-simple"
    reference_class: ClassVar[str] = "XLMForQuestionAnsweringSimple"

    def __init__(self, config: XLMConfig) -> None:
        super().__init__(config)
        if config.num_labels != 2:
            raise FatalError(
                f"configuration field id2label: got {format_count(config.num_labels, 'label')}, expected 2 to answer "
                "questions (start and end)"
            )
        self.qa_outputs = nn.Linear(config.emb_dim, config.num_labels)
        init_weights(self, config)

    def forward(self, hidden: Tensor) -> Tensor:
        """Compute logits [..., 2], start and end, for hidden states of any leading shape."""
        return self.qa_outputs(hidden.to(self.qa_outputs.weight.dtype))

    def loss(self, logits_BL2: Tensor, start_positions: Tensor, end_positions: Tensor) -> Tensor:
        """Average the cross-entropies of start and end over all columns; positions past the last column are ignored."""
        length = logits_BL2.shape[1]
        start_B, end_B = (x.reshape(-1).clamp(0, length) for x in (start_positions, end_positions))
        start_loss, end_loss = (
            F.cross_entropy(logits_BL2[..., i], positions, ignore_index=length)
            for i, positions in enumerate((start_B, end_B))
        )
        return (start_loss + end_loss) / 2
