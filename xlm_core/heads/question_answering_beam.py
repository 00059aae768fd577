"""Question answering by beams: the best starts, the best ends of each, and whether there is an answer at all.

Letters: B sequences, T packed tokens, L padded length, D model width, S starts and E ends of the beams.
"""

from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from xlm_core.checkpoint.config import XLMConfig
from xlm_core.checkpoint.names import Kind
from xlm_core.heads.head import Head
from xlm_core.heads.question_answering_beam_layers import BeamLayers
from xlm_core.model.padding import PaddedLayout
from xlm_core.model.trunk import init_weights
from xlm_core.precision import upcast

_NOT_ALLOWED = -1e30  # the reference's logit of such tokens: probability 0, unless no token at all is allowed


class BeamAnswers(NamedTuple):
    """The candidates of each sequence; the log_probs are probabilities: the reference's name, and its content.

    An index is a token's number within its sequence. Where a sequence has fewer candidates than asked for, the rest
    is probability 0 and index -1. What is float32 is float64 where the head is.
    """

    start_top_log_probs: Tensor  # float32 [B, S], the best first
    start_top_index: Tensor  # int64 [B, S]
    end_top_log_probs: Tensor  # float32 [B, E * S], given the start: end e of start s at e * S + s
    end_top_index: Tensor  # int64 [B, E * S]
    cls_logits: Tensor  # float32 [B], the higher the less there is an answer


class QuestionAnsweringHead(Head):
    """Starts, ends and answerability of each sequence, over its own tokens; pads are never among them."""

    kind: ClassVar[Kind] = "question-answering"
    reference_class: ClassVar[str] = "XLMForQuestionAnswering"

    def __init__(self, config: XLMConfig) -> None:
        super().__init__(config)
        self.qa_outputs = BeamLayers(config)
        init_weights(self, config)

    def forward_packed(
        self,
        hidden_TD: Tensor,
        cu_seqlens: Tensor,
        allowed_T: Tensor | None = None,
        cls_index: Tensor | None = None,
        max_answer_tokens: int | None = None,
    ) -> BeamAnswers:
        """Search each sequence.

        Args:
            hidden_TD: the trunk's output.
            cu_seqlens: int32 [B + 1].
            allowed_T: bool [T], the tokens at which an answer may start or end; all if not given.
            cls_index: [B], number of the class token within each sequence; the last token if not given.
            max_answer_tokens: choose among ends that make an answer of at most so many tokens, so that every start has
                one. Without it an end may stand before its start, as in the reference, and no answer may be left.
        """
        layers, config = self.qa_outputs, self.config
        hidden_TD = hidden_TD.to(layers.start_logits.dense.weight.dtype)
        layout = _lay_out(cu_seqlens, len(hidden_TD))
        first_B = cu_seqlens[:-1].long()

        start_BL = _own_logits(layers.start_logits(hidden_TD), allowed_T, layout)
        start_probs_BS, start_index_BS, start_probs_BL = _best(start_BL, config.start_n_top)
        start_SBD = hidden_TD[(first_B[:, None] + start_index_BS.clamp(min=0)).T]
        end_ST = layers.end_logits(hidden_TD, layout.index // layout.shape[1], start_SBD)
        ends = [
            _best(
                _own_logits(end_T, allowed_T, layout),
                config.end_n_top,
                None if max_answer_tokens is None else _after(start_B, layout.shape[1], max_answer_tokens),
            )
            for end_T, start_B in zip(end_ST, start_index_BS.unbind(1), strict=True)
        ]
        found_BES = (start_index_BS >= 0)[:, None]  # a start that is none has no ends
        end_probs_BES = torch.stack([probs_BE for probs_BE, _, _ in ends], dim=-1) * found_BES
        end_index_BES = torch.stack([index_BE for _, index_BE, _ in ends], dim=-1).where(found_BES, -1)

        expected_BD = _sum(upcast(hidden_TD) * layout.pack(start_probs_BL)[:, None], cu_seqlens).to(hidden_TD.dtype)
        cls_logits_B = layers.answer_class(expected_BD, hidden_TD[_class_tokens(cu_seqlens, cls_index)])
        return BeamAnswers(
            start_probs_BS, start_index_BS, end_probs_BES.flatten(1), end_index_BES.flatten(1), upcast(cls_logits_B)
        )

    def loss(
        self,
        hidden_TD: Tensor,
        cu_seqlens: Tensor,
        start_B: Tensor,
        end_B: Tensor,
        allowed_T: Tensor | None = None,
        cls_index: Tensor | None = None,
        is_impossible: Tensor | None = None,
    ) -> Tensor:
        """Average the cross-entropies of start and, from the true start, of end; add half of the answer class's.

        Args:
            hidden_TD, cu_seqlens, allowed_T, cls_index: as in `forward_packed`.
            start_B, end_B: int64 [B], numbers of the tokens within their sequences.
            is_impossible: [B], 1 where there is no answer; counts only where `cls_index` is given as well, the
                reference's rule.
        """
        layers = self.qa_outputs
        hidden_TD = hidden_TD.to(layers.start_logits.dense.weight.dtype)
        layout = _lay_out(cu_seqlens, len(hidden_TD))
        start_BD = hidden_TD[cu_seqlens[:-1].long() + start_B]
        end_1T = layers.end_logits(hidden_TD, layout.index // layout.shape[1], start_BD[None])
        start_BL = _own_logits(layers.start_logits(hidden_TD), allowed_T, layout)
        end_BL = _own_logits(end_1T[0], allowed_T, layout)
        loss = (F.cross_entropy(start_BL, start_B) + F.cross_entropy(end_BL, end_B)) / 2
        if cls_index is None or is_impossible is None:
            return loss
        cls_logits_B = upcast(layers.answer_class(start_BD, hidden_TD[_class_tokens(cu_seqlens, cls_index)]))
        return loss + F.binary_cross_entropy_with_logits(cls_logits_B, is_impossible.reshape(-1).to(cls_logits_B)) / 2


def _lay_out(cu_seqlens: Tensor, num_tokens: int) -> PaddedLayout:
    """Lay sequences side by side, [B, L]; for what is one number a token, and waits once for the GPU to know L."""
    lengths_B = cu_seqlens.long().diff()
    width = int(lengths_B.max())
    sequence_T = torch.repeat_interleave(lengths_B, output_size=num_tokens)
    number_T = torch.arange(num_tokens, device=cu_seqlens.device) - cu_seqlens.long()[sequence_T]
    return PaddedLayout(sequence_T * width + number_T, (len(lengths_B), width))


def _own_logits(logits_T: Tensor, allowed_T: Tensor | None, layout: PaddedLayout) -> Tensor:
    """Give [B, L], upcast: a token's logit, next to nothing where it is not allowed, minus infinity at pads."""
    logits_T = upcast(logits_T)
    if allowed_T is not None:
        logits_T = logits_T.masked_fill(~allowed_T, _NOT_ALLOWED)
    own_BL = layout.unpack(torch.ones_like(layout.index, dtype=torch.bool))
    return layout.unpack(logits_T).masked_fill(~own_BL, -torch.inf)


def _after(start_B: Tensor, length: int, num: int) -> Tensor:
    """Mark each sequence's start and the tokens behind it, `num` in all: bool [B, L]."""
    behind_BL = torch.arange(length, device=start_B.device) - start_B[:, None]
    return (behind_BL >= 0) & (behind_BL < num)


def _best(logits_BL: Tensor, num: int, among_BL: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Give the probabilities and indices of the `num` best allowed tokens, [B, num], and all probabilities, [B, L].

    `among_BL` leaves out tokens from the choice, though not from the probabilities.
    """
    probs_BL = logits_BL.softmax(-1)
    if among_BL is not None:
        logits_BL = logits_BL.masked_fill(~among_BL, -torch.inf)
    logits, index = logits_BL.topk(min(num, logits_BL.shape[1]))
    none = logits <= _NOT_ALLOWED
    room = (0, num - logits.shape[1])
    probs = F.pad(probs_BL.gather(1, index).masked_fill(none, 0.0), room)
    return probs, F.pad(index.masked_fill(none, -1), room, value=-1), probs_BL


def _sum(values_TD: Tensor, cu_seqlens: Tensor) -> Tensor:
    return torch.segment_reduce(values_TD, "sum", lengths=cu_seqlens.long().diff(), axis=0, unsafe=True)


def _class_tokens(cu_seqlens: Tensor, cls_index: Tensor | None) -> Tensor:
    """Give the place of each sequence's class token in the batch, [B]."""
    return cu_seqlens[1:].long() - 1 if cls_index is None else cu_seqlens[:-1].long() + cls_index
