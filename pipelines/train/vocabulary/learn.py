"""Learn vocabulary and merges from a corpus: plan, count words, learn."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING

from pipelines.corpus import ShardLimits, plan_shards, survey_corpus
from pipelines.errors import FatalError, RetryableError
from pipelines.formatting import format_count
from pipelines.job import DetectedLang, FixedLang, TokenizerSettings
from pipelines.rows import FailureKind, RowColumns, read_schema
from pipelines.run import check_fixed_lang
from pipelines.stages import Reader
from pipelines.train.layout import ROWS_PER_SHARD
from pipelines.train.vocabulary.count_words import count_words, without_vocabulary
from pipelines.train.vocabulary.word_totals import MAX_WORDS, WordTotals
from xlm_core.vocabulary import learn_tokenizer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pipelines.corpus import Plan
    from pipelines.job import InputSettings
    from pipelines.rows import ShardFailure
    from pipelines.storage import StoreSettings
    from pipelines.training_job import VocabularySettings
    from xlm_core.tokenizer import TokenizerFiles

_FAILED = (FailureKind.FATAL, FailureKind.FAILED)  # and will fail again


def learn_vocabulary(
    settings: VocabularySettings,
    tokenizer: TokenizerSettings | None = None,
    stores: Sequence[StoreSettings] = (),
    notify: Callable[[str], None] = lambda _: None,
    plan: Plan | None = None,
) -> TokenizerFiles:
    """Learn a vocabulary from a corpus. Ray must be running.

    Words are those of the tokenizer with these settings. Rows that a job would reject are not counted. The result does
    not depend on how the corpus is divided into files and row groups, unless it has more than `MAX_WORDS` words; see
    `WordTotals`. The driver needs about 1 KB for each of them.

    Args:
        settings: the texts, and the size of the vocabulary.
        tokenizer: how texts are segmented.
        stores: options of the stores that contain the corpus.
        notify: receives messages about what was read and learned.
        plan: the result of `plan_texts` for these texts, if it was called before.

    Returns:
        The files of the tokenizer, for `write_tokenizer_files`. Its languages are those of the corpus.

    Raises:
        FatalError: the input cannot be read, or the vocabulary cannot be learned from it.
        RetryableError: Ray or a store failed.
    """
    tokenizer = tokenizer or TokenizerSettings()
    plan = plan or plan_texts(settings.input, tokenizer, stores)
    spec = _only_texts(settings.input)
    columns = RowColumns(
        corpus=plan.schema,
        id=None,
        keep={},
        text=spec.text_columns,
        lang=spec.lang_column,
        counts=[],
        needs_offsets=False,
    )
    reader = Reader(read_schema(columns), plan.schema.names, spec.filter, {}, tuple(stores))
    totals, rejected = WordTotals(), Counter[str]()
    with closing(count_words(reader, plan.shards, spec, tokenizer, lowercase=settings.lowercase)) as counted:
        for shard in counted:
            if shard.failure is not None:
                raise _as_error(shard.failure)
            totals.add(shard.rows)
            rejected.update(shard.rejected.column("reason").to_pylist())
    if rejected:
        reasons = ", ".join(f"{number:,} {reason}" for reason, number in rejected.most_common())
        if not any(totals.langs.values()):
            raise FatalError(f"input: no row can be used ({reasons}); correct input.text and input.lang")
        notify(f"vocabulary: {format_count(rejected.total(), 'row')} not counted: {reasons}")
    if totals.num_forgotten:
        notify(
            f"warning: vocabulary: more than {MAX_WORDS:,} different words, so rare ones were forgotten "
            f"{totals.num_forgotten:,} times"
        )
    files = learn_tokenizer(
        totals.langs,
        settings.vocab_size,
        alpha=settings.alpha,
        min_count=settings.min_count,
        lowercase=settings.lowercase,
    )
    num_words, langs = sum(map(len, totals.langs.values())), format_count(len(totals.langs), "language")
    notify(f"vocabulary: {len(files.vocab):,} tokens from {num_words:,} different words in {langs}")
    return files


def plan_texts(source: InputSettings, tokenizer: TokenizerSettings, stores: Sequence[StoreSettings]) -> Plan:
    """Check the input of a vocabulary, and plan its shards. Only the footers of the files are read.

    Raises:
        FatalError: the input cannot be read, or its languages are not known.
        RetryableError: a store does not answer.
    """
    if isinstance(source.lang, DetectedLang):
        raise FatalError("input.lang: a vocabulary needs known languages; name a column with them, or set fixed")
    if isinstance(source.lang, FixedLang):
        needs_segmenter = not tokenizer.bypass_tokenizer
        empty = without_vocabulary(tokenizer)
        check_fixed_lang(source.lang.fixed, empty, reject_unknown=True, needs_segmenter=needs_segmenter)
    return plan_shards(survey_corpus(_only_texts(source), stores), ShardLimits(ROWS_PER_SHARD))


def _only_texts(source: InputSettings) -> InputSettings:
    return source.model_copy(update={"id": None, "keep": []})


def _as_error(failure: ShardFailure) -> Exception:
    return (FatalError if failure.kind in _FAILED else RetryableError)(failure.message)
