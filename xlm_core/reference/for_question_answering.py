"""Models for question answering, with the simple head or the beam head, with the reference's padded interface.

Letters: B sequences, L padded length.
"""

from typing import Any, ClassVar, Unpack

import torch
from torch import Tensor

from xlm_core.checkpoint import ModelKind, XLMConfig
from xlm_core.heads import BeamAnswers, QuestionAnsweringHead, QuestionAnsweringSimpleHead
from xlm_core.model import PackedBatch, PaddedLayout
from xlm_core.reference.outputs import BeamsOutput, SpansOutput
from xlm_core.reference.trunk_with_head import TrunkWithHead, TrunkWithScoringHead
from xlm_core.reference.xlm_model import PaddedInputs


class XLMForQuestionAnsweringSimple(TrunkWithScoringHead[QuestionAnsweringSimpleHead]):
    """The trunk with the simple head for question answering."""

    kind: ClassVar[ModelKind] = "question-answering-simple"
    reference_class: ClassVar[str] = "XLMForQuestionAnsweringSimple"

    def __init__(self, config: XLMConfig) -> None:
        super().__init__(config, QuestionAnsweringSimpleHead(config))

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        *,
        start_positions: Tensor | None = None,
        end_positions: Tensor | None = None,
        **inputs: Unpack[PaddedInputs],
    ) -> SpansOutput | tuple[Any, ...]:
        """Run the model on padded tensors, with the reference's arguments.

        Args:
            input_ids, attention_mask: [B, L].
            start_positions, end_positions: [B], columns; the loss is computed if both are given.
            inputs: see `PaddedInputs`.
        """
        run = self.trunk.run_padded(input_ids, attention_mask, **inputs)
        logits_BL2 = self.head(run.layout.unpack(run.hidden))  # at pads, the logits of a zero vector
        loss = None
        if start_positions is not None and end_positions is not None:
            loss = self.head.loss(logits_BL2, start_positions, end_positions)
        start_BL, end_BL = logits_BL2.unbind(-1)
        return SpansOutput(loss, start_BL, end_BL, run.hidden_states, run.attentions).to_return_value(run.return_dict)


class XLMForQuestionAnswering(TrunkWithHead[QuestionAnsweringHead]):
    """The trunk with the beam head for question answering."""

    kind: ClassVar[ModelKind] = "question-answering"
    reference_class: ClassVar[str] = "XLMForQuestionAnswering"

    def __init__(self, config: XLMConfig) -> None:
        super().__init__(config, QuestionAnsweringHead(config))

    def forward_packed(
        self,
        batch: PackedBatch,
        *,
        allowed_T: Tensor | None = None,
        cls_index: Tensor | None = None,
    ) -> BeamAnswers:
        """Run the trunk and the head on a packed batch; see `QuestionAnsweringHead.forward_packed`."""
        return self.head.forward_packed(
            self.trunk.forward_packed(batch), batch.cu_seqlens, allowed_T=allowed_T, cls_index=cls_index
        )

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        *,
        start_positions: Tensor | None = None,
        end_positions: Tensor | None = None,
        is_impossible: Tensor | None = None,
        cls_index: Tensor | None = None,
        p_mask: Tensor | None = None,
        **inputs: Unpack[PaddedInputs],
    ) -> BeamsOutput | tuple[Any, ...]:
        """Run padded tensors, with the reference's arguments; positions and indices are columns.

        Starts, ends, the default class token and all probabilities ignore pads; the reference's include them.

        Args:
            input_ids, attention_mask: [B, L].
            start_positions, end_positions: [B]; if both are given, the loss is computed instead of beams.
            is_impossible: [B], 1 if there is no answer.
            cls_index: [B], the class token; the last token if not given.
            p_mask: [B, L], 1 at tokens where no answer may start or end.
            inputs: see `PaddedInputs`.

        Raises:
            ValueError: a position outside its sequence.
        """
        run = self.trunk.run_padded(input_ids, attention_mask, **inputs)
        layout, cu_seqlens = run.layout, run.batch.cu_seqlens
        if p_mask is not None and p_mask.shape != layout.shape:
            raise ValueError(f"p_mask: got shape {list(p_mask.shape)}, expected {list(layout.shape)}")
        allowed_T = None if p_mask is None else layout.pack(p_mask) == 0
        cls_B = None if cls_index is None else _columns_to_positions("cls_index", cls_index, layout, cu_seqlens)
        if start_positions is not None and end_positions is not None:
            start_B = _columns_to_positions("start_positions", start_positions, layout, cu_seqlens)
            end_B = _columns_to_positions("end_positions", end_positions, layout, cu_seqlens)
            loss = self.head.loss(
                run.hidden, cu_seqlens, start_B, end_B, allowed_T=allowed_T, cls_index=cls_B,
                is_impossible=is_impossible,
            )  # fmt: skip
            output = BeamsOutput(loss, hidden_states=run.hidden_states, attentions=run.attentions)
            return output.to_return_value(run.return_dict)
        answers = self.head.forward_packed(run.hidden, cu_seqlens, allowed_T, cls_B)
        return BeamsOutput(
            None,
            answers.start_top_log_probs,
            _positions_to_columns(answers.start_top_index, layout, cu_seqlens),
            answers.end_top_log_probs,
            _positions_to_columns(answers.end_top_index, layout, cu_seqlens),
            answers.cls_logits,
            run.hidden_states,
            run.attentions,
        ).to_return_value(run.return_dict)


def _columns_to_positions(name: str, columns: Tensor, layout: PaddedLayout, cu_seqlens: Tensor) -> Tensor:
    """Convert columns [B] to positions within the sequences, int64 [B]."""
    columns_B, (num_sequences, length) = columns.reshape(-1).long(), layout.shape
    if len(columns_B) != num_sequences or int(columns_B.min()) < 0 or int(columns_B.max()) >= length:
        raise ValueError(f"{name}: got {columns_B.tolist()}, expected {num_sequences} columns from 0 to {length - 1}")
    # index of the packed token plus 1; 0 at pads
    token_BL = layout.unpack(torch.arange(1, len(layout.index) + 1, device=columns.device))
    token_B = token_BL.gather(1, columns_B[:, None]).squeeze(1)
    if not token_B.all():
        row = int((token_B == 0).int().argmax())
        raise ValueError(f"{name}: row {row}: column {int(columns_B[row])} is a pad, expected a token")
    return token_B - 1 - cu_seqlens[:-1].long()


def _positions_to_columns(positions: Tensor, layout: PaddedLayout, cu_seqlens: Tensor) -> Tensor:
    """Convert positions within the sequences, [B, n], to columns; -1 stays -1."""
    tokens = cu_seqlens[:-1].long()[:, None] + positions.clamp(min=0)
    return (layout.index[tokens] % layout.shape[1]).where(positions >= 0, -1)
