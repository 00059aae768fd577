"""Objectives of the heads that classify sequences, tokens and choices.

Letters: B sequences, T packed tokens, D model width, C labels, N labelled tokens, K choices.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F

from xlm_core.heads import NO_LABEL
from xlm_core.precision import upcast
from xlm_core.training.objectives.objective import Objective, Scores, TrainingBatch, count_correct, pack

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from xlm_core.heads import MultipleChoiceHead, SequenceClassificationHead, TokenClassificationHead
    from xlm_core.training.examples import Examples


class SequenceClassification(Objective):
    """Predicts the label of a row, several labels, or values, as the head's `problem_type` says.

    Args:
        head: scores labels.
        label_smoothing: how much of the probability of a single label is given to all labels equally.
    """

    def __init__(self, head: SequenceClassificationHead, label_smoothing: float = 0.0):
        self._head, self.pool, self.layer = head, head.sequence_summary.pool, head.layer
        self._label_smoothing = label_smoothing

    def make_batch(self, examples: Examples) -> TrainingBatch:
        """See `Objective`. Targets: integers [N], or numbers [N, C] for several labels and for values."""
        assert examples.targets is not None
        targets = examples.targets.astype(np.int64 if self._is_single(examples.targets) else np.float32)
        return pack(examples, targets, len(examples))

    def score(self, hidden_TD: Tensor, batch: TrainingBatch) -> Scores:
        """See `Objective`."""
        logits_BC, targets = upcast(self._head.forward_packed(hidden_TD, batch.packed.cu_seqlens)), batch.targets
        if targets.is_floating_point():
            return Scores(self._head.loss(logits_BC, targets), None)
        loss = F.cross_entropy(logits_BC, targets, label_smoothing=self._label_smoothing)
        return Scores(loss, count_correct(logits_BC, targets))

    def _is_single(self, targets: NDArray[Any]) -> bool:
        """Return whether each row has a single label, by the rule of `SequenceClassificationHead.loss`."""
        config = self._head.config
        if config.problem_type is None:
            return config.num_labels > 1 and np.issubdtype(targets.dtype, np.integer)
        return config.problem_type == "single_label_classification"


class TokenClassification(Objective):
    """Predicts the label of each word, at its first token.

    Args:
        head: scores labels.
        label_smoothing: see `SequenceClassification`.
    """

    def __init__(self, head: TokenClassificationHead, label_smoothing: float = 0.0):
        self._head = head
        self._label_smoothing = label_smoothing

    def make_batch(self, examples: Examples) -> TrainingBatch:
        """See `Objective`. Targets: int64 [T], -100 at tokens without a label."""
        assert examples.targets is not None
        targets = examples.targets.astype(np.int64)
        return pack(examples, targets, int((targets != NO_LABEL).sum()))

    def mark_kept_tokens(self, examples: Examples) -> NDArray[np.bool_]:
        """See `Objective`: tokens with a label, and the first of each sequence."""
        is_kept = examples.targets != NO_LABEL
        is_kept[examples.sequences.cu_seqlens[:-1]] = True
        return is_kept

    def score(self, hidden_TD: Tensor, batch: TrainingBatch) -> Scores:
        """See `Objective`."""
        has_label = batch.targets != NO_LABEL
        logits_NC, targets_N = upcast(self._head(hidden_TD[has_label])), batch.targets[has_label]
        loss = F.cross_entropy(logits_NC, targets_N, label_smoothing=self._label_smoothing)
        return Scores(loss, count_correct(logits_NC, targets_N))


class MultipleChoice(Objective):
    """Predicts the right one of a row's choices, each of which is a sequence.

    Args:
        head: scores sequences.
    """

    def __init__(self, head: MultipleChoiceHead):
        self._head, self.pool = head, head.sequence_summary.pool

    def make_batch(self, examples: Examples) -> TrainingBatch:
        """See `Objective`. Targets: int64 [N, 2], the number of choices of the row, and the right one."""
        assert examples.targets is not None
        num_choices = np.diff(examples.sequences.row_offsets).astype(np.int64)
        targets = np.stack([num_choices, examples.targets], axis=1)
        return pack(examples, targets, len(examples))

    def score(self, hidden_TD: Tensor, batch: TrainingBatch) -> Scores:
        """See `Objective`."""
        scores_B = self._head.forward_packed(hidden_TD, batch.packed.cu_seqlens)
        num_choices, targets = batch.targets.unbind(1)
        rows = torch.nn.utils.rnn.pad_sequence(list(upcast(scores_B).split(num_choices.tolist())), True, -torch.inf)
        return Scores(F.cross_entropy(rows, targets), count_correct(rows, targets))
