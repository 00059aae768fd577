"""lm-scoring: the likelihood of each row's text under the language model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa

from pipelines.results import Numbers, compare_numbers, required
from pipelines.tasks.language_modeling.language_model import LanguageModelTask
from pipelines.tasks.task import HeadTaskSettings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from pipelines.results import CompareFields, ResultFindings, Statistic
    from pipelines.storage import StoreSettings
    from xlm_core import XLMConfig
    from xlm_core.decoding import Sequences
    from xlm_core.inference import Collector, TextScores


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

    def statistics(self, rows: pa.Table) -> Iterator[Statistic]:
        """See `TaskSettings`. The perplexity is shown by its logarithm, because it spans orders of magnitude."""
        name = self.column("perplexity")
        perplexity = rows[name].chunk(0).to_numpy(zero_copy_only=False).astype(np.float64)
        yield Numbers(f"log10({name})", np.flatnonzero(perplexity > 0), np.log10(perplexity[perplexity > 0]))

    def prepare(
        self,
        trunk: XLMConfig,
        head_folder: Path,
        text_fields: Sequence[pa.Field],
        stores: Sequence[StoreSettings] = (),
    ) -> LmScoringTask:
        """See `TaskSettings`."""
        self.read_head_config("language-modeling", head_folder, trunk)
        return LmScoringTask(self, trunk)

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


class LmScoringTask(LanguageModelTask["TextScores"]):
    """The task of `LmScoring`."""

    def __init__(self, settings: LmScoring, trunk: XLMConfig):
        self.settings, self.causal = settings, trunk.causal

    @property
    def fields(self) -> list[pa.Field]:
        """See `Task`."""
        metadata = {"objective": "causal" if self.causal else "masked: pseudo-log-likelihood"}
        num_tokens, log_likelihood, perplexity = self.settings.columns
        return [
            required(num_tokens, pa.int32(), {"counts": "the tokens that are scored: the text's own"}),
            required(log_likelihood, pa.float64(), metadata),
            required(perplexity, pa.float64(), metadata),
        ]

    def collect(self, sequences: Sequences, rows: pa.RecordBatch) -> Collector[TextScores]:
        """See `Task`."""
        from xlm_core.inference import ScoreCollector

        return ScoreCollector(sequences, self.model, self.head)

    def columns(self, result: TextScores, sequences: Sequences, rows: pa.RecordBatch) -> list[pa.Array]:
        """See `Task`."""
        return [pa.array(values, field.type) for values, field in zip(result, self.fields, strict=True)]
