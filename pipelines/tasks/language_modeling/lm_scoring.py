"""lm-scoring: the likelihood of each row's text under the language model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa

from pipelines.results import compare_numbers, required
from pipelines.tasks.language_modeling.language_model import LanguageModelTask, mark_text_tokens
from pipelines.tasks.task import HeadTaskSettings

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from pipelines.results import CompareFields, ResultFindings
    from pipelines.rows import Sequences
    from pipelines.storage import StoreSettings
    from pipelines.tasks.model import Pass
    from pipelines.tasks.task import Collector
    from xlm_core import XLMConfig


class LmScoring(HeadTaskSettings):
    """Score each row's text. Writes `num_tokens`, `log_likelihood` (natural logarithm) and `perplexity`.

    A causal model scores each token given the tokens before it. A masked model scores each token given all others, with
    one token masked at a time. Special tokens are not scored.
    """

    kind: ClassVar[str] = "lm-scoring"
    needs_offsets: ClassVar[bool] = True

    def column_comparisons(self) -> dict[str, CompareFields]:
        """See `TaskSettings`."""
        return dict.fromkeys(("num_tokens", "log_likelihood", "perplexity"), compare_numbers("the number"))

    def prepare(
        self,
        trunk: XLMConfig,
        head_folder: Path,
        text_fields: Sequence[pa.Field],
        stores: Sequence[StoreSettings] = (),
    ) -> LmScoringTask:
        """See `TaskSettings`."""
        return LmScoringTask(self, trunk, self.read_head_config("language-modeling", head_folder, trunk))

    def verify(self, rows: pa.Table, texts: Sequence[str] | None, findings: ResultFindings) -> None:
        """See `TaskSettings`. The perplexity must follow from the other columns; it may be NaN or infinite."""
        columns: list[Any] = [rows[name].combine_chunks().to_numpy(zero_copy_only=False) for name in self.columns]
        num_tokens, log_likelihood, perplexity = columns
        not_finite = np.flatnonzero(~np.isfinite(log_likelihood))
        findings.add_fault(self.column("log_likelihood"), not_finite, "numbers that are not finite")
        with np.errstate(all="ignore"):  # rows without a scored token give NaN, and values above 1e308 give infinity
            expected = np.exp(-log_likelihood / num_tokens)
            wrong = np.flatnonzero(~np.isclose(expected, perplexity, rtol=1e-6, equal_nan=True))
        findings.add_fault(self.column("perplexity"), wrong, "a value that does not follow from the log-likelihood")


class LmScoringTask(LanguageModelTask):
    """The task of `LmScoring`. For a causal model it reads the shared passes; for a masked one it runs the trunk."""

    def __init__(self, settings: LmScoring, trunk: XLMConfig, head: XLMConfig):
        super().__init__(settings, trunk, head)
        self.settings = settings
        self.reads_pass = trunk.causal

    @property
    def fields(self) -> list[pa.Field]:
        """See `Task`."""
        metadata = {"objective": "causal" if self.trunk_config.causal else "masked: pseudo-log-likelihood"}
        num_tokens, log_likelihood, perplexity = self.settings.columns
        return [
            required(num_tokens, pa.int32(), {"counts": "the tokens that are scored: the text's own"}),
            required(log_likelihood, pa.float64(), metadata),
            required(perplexity, pa.float64(), metadata),
        ]

    def collect(self, shard: Sequences) -> Collector:
        """See `Task`."""
        return _LmScoringCollector(self, shard)


class _LmScoringCollector:
    """Collects log-probabilities of tokens. A token in two windows counts in the one with more context."""

    def __init__(self, task: LmScoringTask, shard: Sequences):
        self._task, self._shard = task, shard
        self._is_scored = mark_text_tokens(shard, causal=task.trunk_config.causal)
        self._scores = np.full(len(shard.input_ids), np.nan, np.float32)

    def add(self, step: Pass) -> None:
        from xlm_core import score_causal

        scores = score_causal(self._task.head, step.hidden_TD, step.batch.input_ids, step.batch.cu_seqlens)
        self._scores[step.tokens] = scores.float().cpu().numpy()

    def columns(self) -> list[pa.Array]:
        from xlm_core import perplexity, sum_scores

        shard = self._shard
        scores = self._scores if self._task.trunk_config.causal else self._score_masked()
        sums, counts = sum_scores(scores, self._is_scored, shard.cu_seqlens[shard.row_offsets])
        return [
            pa.array(counts, pa.int32()),
            pa.array(sums, pa.float64()),
            pa.array(perplexity(sums, counts), pa.float64()),
        ]

    def _score_masked(self) -> NDArray[np.float32]:
        from xlm_core import score_masked

        task, shard = self._task, self._shard
        return score_masked(
            task.model.trunk,
            task.head,
            shard.input_ids,
            shard.cu_seqlens,
            shard.langs,
            self._is_scored,
            task.model.tokenizer.mask_token_id,
            task.model.own_pass_tokens,
        )
