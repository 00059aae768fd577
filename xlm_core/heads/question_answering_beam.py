"""The beam head for question answering: the best starts, the best ends for each start, and an answer class.

Letters: B sequences, T packed tokens, L padded length, D model width, S starts and E ends per start.
"""

from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from xlm_core.checkpoint import ModelKind, XLMConfig
from xlm_core.heads.head import Head
from xlm_core.heads.question_answering_beam_layers import BeamLayers
from xlm_core.model import PaddedLayout, init_weights
from xlm_core.precision import upcast

_NOT_ALLOWED = -1e30  # the reference's logit for tokens that are not allowed: probability 0, unless no token is allowed


class BeamAnswers(NamedTuple):
    """The candidates of each sequence. As in the reference, the fields named log_probs contain probabilities.

    An index is a token's position within its sequence. If a sequence has fewer candidates than requested, the remaining
    ones have probability 0 and index -1. Float tensors are float32, or float64 if the head is.
    """

    start_top_log_probs: Tensor  # float32 [B, S], best first
    start_top_index: Tensor  # int64 [B, S]
    end_top_log_probs: Tensor  # float32 [B, E * S], given the start: end e of start s is at e * S + s
    end_top_index: Tensor  # int64 [B, E * S]
    cls_logits: Tensor  # float32 [B], the higher, the less likely there is an answer


class QuestionAnsweringHead(Head):
    """Finds starts and ends and scores answerability for each sequence, over its own tokens, never over pads."""

    kind: ClassVar[ModelKind] = "question-answering"
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
        max_seqlen: int | None = None,
    ) -> BeamAnswers:
        """Search each sequence for answers.

        Args:
            hidden_TD: the trunk's output.
            cu_seqlens: int32 [B + 1].
            allowed_T: bool [T], whether an answer may start or end at a token; all tokens if not given.
            cls_index: [B], position of the class token within each sequence; the last token if not given.
            max_answer_tokens: maximum number of tokens of an answer. With a limit, every start has a valid end. Without
                one, an end may be before its start, as in the reference, and possibly no answer is valid.
            max_seqlen: number of tokens of the longest sequence; if not given, the host waits for the device to get it.
        """
        layers, config = self.qa_outputs, self.config
        hidden_TD = hidden_TD.to(layers.start_logits.dense.weight.dtype)
        layout = _padded_layout(cu_seqlens, len(hidden_TD), max_seqlen)
        sequence_start_B = cu_seqlens[:-1].long()

        start_BL = _masked_logits(layers.start_logits(hidden_TD), allowed_T, layout)
        start_probs_BS, start_index_BS, start_probs_BL = _best_tokens(start_BL, config.start_n_top)
        start_SBD = hidden_TD[(sequence_start_B[:, None] + start_index_BS.clamp(min=0)).T]
        end_ST = layers.end_logits(hidden_TD, layout.index // layout.shape[1], start_SBD)
        ends = [
            _best_tokens(
                _masked_logits(end_T, allowed_T, layout),
                config.end_n_top,
                None if max_answer_tokens is None else _allowed_ends(start_B, layout.shape[1], max_answer_tokens),
            )
            for end_T, start_B in zip(end_ST, start_index_BS.unbind(1), strict=True)
        ]
        is_start_BES = (start_index_BS >= 0)[:, None]  # a missing start has no ends
        end_probs_BES = torch.stack([probs_BE for probs_BE, _, _ in ends], dim=-1) * is_start_BES
        end_index_BES = torch.stack([index_BE for _, index_BE, _ in ends], dim=-1).where(is_start_BES, -1)

        weighted_TD = upcast(hidden_TD) * layout.pack(start_probs_BL)[:, None]
        expected_start_BD = _sum_per_sequence(weighted_TD, cu_seqlens).to(hidden_TD.dtype)
        cls_logits_B = layers.answer_class(expected_start_BD, hidden_TD[_class_tokens(cu_seqlens, cls_index)])
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
        """Average the cross-entropies of the start and of the end given the true start; add half that of the class.

        Args:
            hidden_TD, cu_seqlens, allowed_T, cls_index: as in `forward_packed`.
            start_B, end_B: int64 [B], positions within the sequences.
            is_impossible: [B], 1 if there is no answer. As in the reference, it is ignored unless `cls_index` is given.
        """
        layers = self.qa_outputs
        hidden_TD = hidden_TD.to(layers.start_logits.dense.weight.dtype)
        layout = _padded_layout(cu_seqlens, len(hidden_TD))
        start_BD = hidden_TD[cu_seqlens[:-1].long() + start_B]
        end_1T = layers.end_logits(hidden_TD, layout.index // layout.shape[1], start_BD[None])
        start_BL = _masked_logits(layers.start_logits(hidden_TD), allowed_T, layout)
        end_BL = _masked_logits(end_1T[0], allowed_T, layout)
        loss = (F.cross_entropy(start_BL, start_B) + F.cross_entropy(end_BL, end_B)) / 2
        if cls_index is None or is_impossible is None:
            return loss
        cls_logits_B = upcast(layers.answer_class(start_BD, hidden_TD[_class_tokens(cu_seqlens, cls_index)]))
        return loss + F.binary_cross_entropy_with_logits(cls_logits_B, is_impossible.reshape(-1).to(cls_logits_B)) / 2


def _padded_layout(cu_seqlens: Tensor, num_tokens: int, max_seqlen: int | None = None) -> PaddedLayout:
    """Build a [B, L] layout, for one number per token; waits for the device if L is not given."""
    lengths_B = cu_seqlens.long().diff()
    max_seqlen = int(lengths_B.max()) if max_seqlen is None else max_seqlen
    sequence_T = torch.repeat_interleave(lengths_B, output_size=num_tokens)
    position_T = torch.arange(num_tokens, device=cu_seqlens.device) - cu_seqlens.long()[sequence_T]
    return PaddedLayout(sequence_T * max_seqlen + position_T, (len(lengths_B), max_seqlen))


def _masked_logits(logits_T: Tensor, allowed_T: Tensor | None, layout: PaddedLayout) -> Tensor:
    """Upcast and unpack logits to [B, L], with `_NOT_ALLOWED` at tokens that are not allowed and -inf at pads."""
    logits_T = upcast(logits_T)
    if allowed_T is not None:
        logits_T = logits_T.masked_fill(~allowed_T, _NOT_ALLOWED)
    is_token_BL = layout.unpack(torch.ones_like(layout.index, dtype=torch.bool))
    return layout.unpack(logits_T).masked_fill(~is_token_BL, -torch.inf)


def _allowed_ends(start_B: Tensor, length: int, max_answer_tokens: int) -> Tensor:
    """Mark the positions at which an answer that starts at `start_B` may end: bool [B, L]."""
    distance_BL = torch.arange(length, device=start_B.device) - start_B[:, None]
    return (distance_BL >= 0) & (distance_BL < max_answer_tokens)


def _best_tokens(logits_BL: Tensor, num: int, choice_BL: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Return the probabilities and indices of the `num` best allowed tokens, [B, num], and all probabilities, [B, L].

    `choice_BL` restricts which tokens are chosen, but does not change the probabilities.
    """
    probs_BL = logits_BL.softmax(-1)
    if choice_BL is not None:
        logits_BL = logits_BL.masked_fill(~choice_BL, -torch.inf)
    logits, index = logits_BL.topk(min(num, logits_BL.shape[1]))
    is_missing = logits <= _NOT_ALLOWED
    padding = (0, num - logits.shape[1])
    probs = F.pad(probs_BL.gather(1, index).masked_fill(is_missing, 0.0), padding)
    return probs, F.pad(index.masked_fill(is_missing, -1), padding, value=-1), probs_BL


def _sum_per_sequence(values_TD: Tensor, cu_seqlens: Tensor) -> Tensor:
    return torch.segment_reduce(values_TD, "sum", lengths=cu_seqlens.long().diff(), axis=0, unsafe=True)


def _class_tokens(cu_seqlens: Tensor, cls_index: Tensor | None) -> Tensor:
    """Return the index [B] of each sequence's class token among the packed tokens."""
    return cu_seqlens[1:].long() - 1 if cls_index is None else cu_seqlens[:-1].long() + cls_index
