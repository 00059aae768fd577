"""The languages of a corpus: which rows a run will reject, and whether it can segment all others."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pipelines.corpus import count_langs, is_counted_quickly
from pipelines.errors import FatalError
from pipelines.formatting import one_line
from pipelines.rows import RejectionReason
from pipelines.stages import LangChecks
from xlm_core import TokenizerError
from xlm_core.errors import shown_lang
from xlm_core.text import SEGMENTED_LANGS

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa

    from pipelines.corpus import LangValue
    from pipelines.job import Job
    from xlm_core import XLMTokenizer

_MAX_LANGS = 10_000  # different values; a column with more of them does not contain language codes


@dataclass(frozen=True)
class LangUse:
    """The rows with one language code.

    Attributes:
        lang: the code in the data, for display; None for null.
        num_rows: number of rows after the filter.
        checkpoint_lang: the checkpoint's code for it; None if it has none.
        rejected: the reason for which these rows are rejected; None if they are not.
        segmenter: the library that segments their words, and its version; None if they are not segmented.
        problem: why this segmenter cannot be used; None if it can.
    """

    lang: str | None
    num_rows: int
    checkpoint_lang: str | None
    rejected: RejectionReason | None
    segmenter: str | None
    problem: str | None


@dataclass
class LanguageSurvey:
    """The languages of the rows of a corpus.

    Attributes:
        langs: the rows by language code, the most frequent code first.
        num_values: number of different values in the data. Several of them are one entry of `langs` if they are not
            displayed, because they may be the text of a row.
        num_dropped: number of rows of the shards that the filter drops.
        num_unreadable: number of shards that cannot be read.
        is_partial: whether the survey ended early, because the column has too many different values.
    """

    langs: list[LangUse] = field(default_factory=list[LangUse])
    num_values: int = 0
    num_dropped: int = 0
    num_unreadable: int = 0
    is_partial: bool = False

    @property
    def num_rows(self) -> int:
        """Number of rows after the filter."""
        return sum(use.num_rows for use in self.langs)

    @property
    def is_exact(self) -> bool:
        """Whether all rows were counted."""
        return not self.is_partial and not self.num_unreadable

    @property
    def num_rejected(self) -> int:
        """Number of rows that are rejected for their language."""
        return sum(use.num_rows for use in self.langs if use.rejected)


def survey_languages(
    job: Job,
    tokenizer: XLMTokenizer,
    shards: pa.Table,
    progress: Callable[[int], None] = lambda _: None,
    *,
    test_segmenters: bool = True,
) -> LanguageSurvey:
    """Count the rows of each language, and find out how they are segmented.

    Args:
        job: a job with a language column.
        tokenizer: that of the job's checkpoint.
        shards: the plan.
        progress: receives the number of rows read so far.
        test_segmenters: whether to load the segmenters; else, `LangUse` has none.
    """
    survey, checks = LanguageSurvey(), LangChecks(tokenizer, job.input, job.policy)
    totals = Counter[tuple[str | None, str | None, RejectionReason | None]]()
    num_read, values, unreadable = 0, set[object](), set[str]()
    for counts in count_langs(shards, str(job.input.lang), job.input.filter, job.storage):
        num_read += counts.num_read
        if counts.is_unreadable:
            unreadable.add(counts.shard)
        else:
            survey.num_dropped += counts.num_read - counts.num_rows.total()
        for value, num_rows in counts.num_rows.items():
            checkpoint_lang, rejection = checks.check(*value)
            totals[_show(value), checkpoint_lang, rejection and rejection.reason] += num_rows
        values |= counts.num_rows.keys()
        progress(num_read)
        if len(values) > _MAX_LANGS:
            survey.is_partial = True
            break
    survey.num_values, survey.num_unreadable = len(values), len(unreadable)
    for (lang, checkpoint_lang, reason), num_rows in totals.most_common():
        needs_test = test_segmenters and reason is None and not job.tokenizer.bypass_tokenizer
        tested = _test_segmenter(tokenizer, checkpoint_lang) if needs_test else (None, None)
        survey.langs.append(LangUse(lang, num_rows, checkpoint_lang, reason, *tested))
    return survey


def survey_quickly(job: Job, tokenizer: XLMTokenizer, shards: pa.Table) -> LanguageSurvey | None:
    """Count the rows of each language if this takes only seconds; None if it takes longer, or all rows have one."""
    if job.input.lang_column is None or not is_counted_quickly(shards):
        return None
    return survey_languages(job, tokenizer, shards, test_segmenters=False)


def _show(value: LangValue) -> str | None:
    """Return a value for display, without the text of a row, which it may be if `input.lang` is the wrong column."""
    if value.lang is None:
        return None
    if value.invalid_byte is not None:
        return "not UTF-8"
    shown = shown_lang(value.lang)
    return shown if shown == value.lang else f"value {shown}"


def _test_segmenter(tokenizer: XLMTokenizer, lang: str | None) -> tuple[str | None, str | None]:
    libraries = tokenizer.segmenters.describe({lang} if lang else set())
    return libraries.get(lang or "moses", libraries["moses"]), _find_problem(tokenizer, lang)


def segmented_langs(tokenizer: XLMTokenizer) -> set[str]:
    """Return the languages of the checkpoint that have a segmenter of their own. Without `lang2id`, it has all."""
    return {*SEGMENTED_LANGS & (tokenizer.lang2id.keys() or SEGMENTED_LANGS)}


def check_segmenters(job: Job, tokenizer: XLMTokenizer, shards: pa.Table) -> None:
    """Refuse rows in a language whose segmenter cannot be used, before the first shard instead of at their shard.

    The language column is read only if the segmenter of a language of the checkpoint cannot be used, and only up to
    the first row in this language.

    Args:
        job: the job.
        tokenizer: that of the job's checkpoint.
        shards: the shards to compute.

    Raises:
        FatalError: there are such rows; the message says what to install or to set.
    """
    if job.input.lang_column is None or job.tokenizer.bypass_tokenizer:
        return
    problems = {
        lang: problem for lang in segmented_langs(tokenizer) if (problem := find_setup_problem(tokenizer, lang))
    }
    if not problems:
        return
    checks = LangChecks(tokenizer, job.input, job.policy)
    for counts in count_langs(shards, job.input.lang_column, job.input.filter, job.storage):
        for value in counts.num_rows:
            lang, _ = checks.check(*value)
            if lang in problems:
                raise FatalError(one_line(f"{counts.file}: has rows in {value.lang}: {problems[lang]}"))


def find_setup_problem(tokenizer: XLMTokenizer, lang: str) -> str | None:
    """Return what is missing for a segmenter that is an optional library or needs a model; None if nothing is."""
    return _find_problem(tokenizer, lang) if tokenizer.segmenters.needs_setup(lang) else None


def _find_problem(tokenizer: XLMTokenizer, lang: str | None) -> str | None:
    """Return why the segmenter of a language cannot be used; None if it can."""
    try:
        tokenizer.segmenters.prepare(lang or "")
    except TokenizerError as error:
        return str(error)
    return None
