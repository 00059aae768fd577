"""Question answering with the simple head and with the beam head: a trunk with a head.

Letters: B sequences, L padded length.
"""

from typing import Any, ClassVar, Unpack

import torch
from torch import Tensor

from xlm_core.checkpoint.config import XLMConfig
from xlm_core.checkpoint.names import Kind
from xlm_core.heads.question_answering_beam import BeamAnswers, QuestionAnsweringHead
from xlm_core.heads.question_answering_simple import QuestionAnsweringSimpleHead
from xlm_core.model.packing import PackedBatch
from xlm_core.model.padding import PaddedLayout
from xlm_core.reference.outputs import BeamsOutput, SpansOutput
from xlm_core.reference.trunk_with_head import TrunkWithHead, TrunkWithScoringHead
from xlm_core.reference.xlm_model import PaddedInputs


class XLMForQuestionAnsweringSimple(TrunkWithScoringHead[QuestionAnsweringSimpleHead]):
    """The trunk with the simple question answering head."""

    kind: ClassVar[Kind] = "question-answering-simple"
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
        """Run padded tensors, with the reference's arguments.

        Args:
            input_ids, attention_mask: [B, L].
            start_positions, end_positions: [B], columns; a loss is given for both.
            inputs: see `PaddedInputs`.
        """
        encoded = self.trunk.encode_padded(input_ids, attention_mask, **inputs)
        logits_BL2 = self.head(encoded.layout.unpack(encoded.hidden))  # at pads, the logits of a zero vector
        loss = None
        if start_positions is not None and end_positions is not None:
            loss = self.head.loss(logits_BL2, start_positions, end_positions)
        start_BL, end_BL = logits_BL2.unbind(-1)
        return SpansOutput(loss, start_BL, end_BL, encoded.hidden_states, encoded.attentions).reply(encoded.return_dict)


class XLMForQuestionAnswering(TrunkWithHead[QuestionAnsweringHead]):
    """The trunk with the beam question answering head."""

    kind: ClassVar[Kind] = "question-answering"
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

        Starts, ends and the default class token are real tokens, and the probabilities are over real tokens; the
        reference's are over the pads too.

        Args:
            input_ids, attention_mask: [B, L].
            start_positions, end_positions: [B]; with both, the loss is given instead of beams.
            is_impossible: [B], 1 where there is no answer.
            cls_index: [B], the class token; the last token if not given.
            p_mask: [B, L], 1 where no answer may start or end.
            inputs: see `PaddedInputs`.

        Raises:
            ValueError: a position outside its sequence.
        """
        encoded = self.trunk.encode_padded(input_ids, attention_mask, **inputs)
        layout, cu_seqlens = encoded.layout, encoded.batch.cu_seqlens
        if p_mask is not None and p_mask.shape != layout.shape:
            raise ValueError(f"p_mask: expected shape {list(layout.shape)}, got {list(p_mask.shape)}")
        allowed_T = None if p_mask is None else layout.pack(p_mask) == 0
        cls_B = None if cls_index is None else _numbers("cls_index", cls_index, layout, cu_seqlens)
        if start_positions is not None and end_positions is not None:
            start_B = _numbers("start_positions", start_positions, layout, cu_seqlens)
            end_B = _numbers("end_positions", end_positions, layout, cu_seqlens)
            loss = self.head.loss(
                encoded.hidden, cu_seqlens, start_B, end_B, allowed_T=allowed_T, cls_index=cls_B,
                is_impossible=is_impossible,
            )  # fmt: skip
            output = BeamsOutput(loss, hidden_states=encoded.hidden_states, attentions=encoded.attentions)
            return output.reply(encoded.return_dict)
        answers = self.head.forward_packed(encoded.hidden, cu_seqlens, allowed_T, cls_B)
        return BeamsOutput(
            None,
            answers.start_top_log_probs,
            _columns(answers.start_top_index, layout, cu_seqlens),
            answers.end_top_log_probs,
            _columns(answers.end_top_index, layout, cu_seqlens),
            answers.cls_logits,
            encoded.hidden_states,
            encoded.attentions,
        ).reply(encoded.return_dict)


def _numbers(name: str, columns: Tensor, layout: PaddedLayout, cu_seqlens: Tensor) -> Tensor:
    """Turn columns [B] into numbers within the sequences, int64 [B]."""
    columns_B, (num_sequences, length) = columns.reshape(-1).long(), layout.shape
    if len(columns_B) != num_sequences or int(columns_B.min()) < 0 or int(columns_B.max()) >= length:
        raise ValueError(f"{name}: expected {num_sequences} columns from 0 to {length - 1}, got {columns_B.tolist()}")
    place_BL = layout.unpack(torch.arange(1, len(layout.index) + 1, device=columns.device))  # in the batch; 0 at pads
    place_B = place_BL.gather(1, columns_B[:, None]).squeeze(1)
    if not place_B.all():
        row = int((place_B == 0).int().argmax())
        raise ValueError(f"{name}: row {row} names column {int(columns_B[row])}, which is a pad; expected a token")
    return place_B - 1 - cu_seqlens[:-1].long()


def _columns(numbers: Tensor, layout: PaddedLayout, cu_seqlens: Tensor) -> Tensor:
    """Turn numbers within the sequences, [B, n], into columns; -1 stays."""
    tokens = cu_seqlens[:-1].long()[:, None] + numbers.clamp(min=0)
    return (layout.index[tokens] % layout.shape[1]).where(numbers >= 0, -1)
