"""Count the words of a corpus on Ray: each process counts those of one shard at a time."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import ray
from ray.data import ActorPoolStrategy
from ray.exceptions import RayError

from pipelines.errors import ClusterError
from pipelines.flow import ACTOR_RETRIES, ONE_SHARD, read_shards
from pipelines.job import PolicySettings
from pipelines.rows import Shard
from pipelines.stages import READ_CPUS, LangChecks, RowChecks
from pipelines.storage import describe_error, locate
from xlm_core import Segmenters, XLMTokenizer
from xlm_core.tokenizer import ALL_SPECIAL_TOKENS
from xlm_core.vocabulary import WordCounter

if TYPE_CHECKING:
    from collections.abc import Generator

    from pipelines.job import InputSettings, TokenizerSettings
    from pipelines.stages import Reader

COUNTS = pa.schema([("lang", pa.string()), ("word", pa.string()), ("count", pa.int64())])

_WAVE_SHARDS = 4_000  # in one execution of Ray Data, whose plan the driver holds


def without_vocabulary(settings: TokenizerSettings) -> XLMTokenizer:
    """Return a tokenizer that has segmenters but no subwords. It accepts all language codes."""
    kytea_model = settings.kytea_model and locate(settings.kytea_model).path
    segmenters = Segmenters(zh=settings.zh, ja=settings.ja, kytea_model=kytea_model, compat=settings.compat)
    return XLMTokenizer({token: i for i, token in enumerate(ALL_SPECIAL_TOKENS)}, {}, segmenters=segmenters)


class CountWords:
    """Counts the words of shards. Segmenters stay loaded from shard to shard.

    Args:
        input: the input columns and their roles.
        tokenizer: how texts are segmented.
        lowercase: whether words are lower-cased.
    """

    def __init__(self, input: InputSettings, tokenizer: TokenizerSettings, lowercase: bool):
        empty = without_vocabulary(tokenizer)
        self._counter = WordCounter(empty.segmenters, lowercase=lowercase, is_segmented=tokenizer.bypass_tokenizer)
        self._checks = RowChecks(
            input=input,
            langs=LangChecks(empty, input, PolicySettings()),
            has_choices=len(input.text_columns) > 2,
            max_chars=tokenizer.max_chars,
        )

    def __call__(self, table: pa.Table) -> pa.Table:
        """Count the words of one shard, packed as a table of one row; see `count`."""
        shard = Shard.from_table(table)
        if shard.failure is not None:
            return shard.emptied(COUNTS).to_table()
        try:
            return self.count(shard).to_table()
        except Exception as error:
            return shard.failed(error, COUNTS).to_table()

    def count(self, shard: Shard) -> Shard:
        """Return a shard with words and their counts instead of rows. Rows that a job would reject are not counted."""
        rows = list(self._checks.check(shard.rows))
        rejected = [row.rejected_row for row in rows if row.rejected_row is not None]
        shard = shard.reject([row.rejection is None for row in rows], rejected)
        kept = [row for row in rows if row.rejection is None]
        # The first text of a row with choices is in each of its sequences, but counts once.
        texts = [[row.texts[0][0], *(text for pair in row.texts for text in pair[1:])] for row in kept]
        langs = [row.checkpoint_lang for row, row_texts in zip(kept, texts, strict=True) for _ in row_texts]
        counts = self._counter.count([text for row_texts in texts for text in row_texts], langs)
        words = [(lang, word, number) for lang, words in counts.items() for word, number in words.items()]
        columns = zip(*words, strict=True) if words else ([], [], [])
        arrays = [pa.array(column, field.type) for column, field in zip(columns, COUNTS, strict=True)]
        return replace(shard, rows=pa.RecordBatch.from_arrays(arrays, schema=COUNTS))


def count_words(
    reader: Reader, shards: pa.Table, input: InputSettings, tokenizer: TokenizerSettings, *, lowercase: bool
) -> Generator[Shard]:
    """Yield, for each shard of a plan and in its order, a shard with the columns of `COUNTS`. Ray must be running.

    Raises:
        ClusterError: Ray failed, or a process died each time it counted a shard.
    """
    cpus = ray.cluster_resources().get("CPU", 1.0)
    num_workers = max(1, int(cpus))
    options: dict[str, Any] = {"num_cpus": round(min(1.0, (cpus - READ_CPUS) / num_workers) - 0.01, 2), **ACTOR_RETRIES}
    for first in range(0, len(shards), _WAVE_SHARDS):
        wave = shards.slice(first, _WAVE_SHARDS)
        dataset = read_shards(reader, wave, max_tasks=1).map_batches(
            CountWords,
            fn_constructor_args=(input, tokenizer, lowercase),
            compute=ActorPoolStrategy(min_size=1, max_size=num_workers),
            **ONE_SHARD,
            **options,
        )
        dataset.context.execution_options.preserve_order = True
        num_counted = 0
        try:
            for batch in dataset.iter_batches(batch_size=1, batch_format="pyarrow", prefetch_batches=0):
                num_counted += 1
                yield Shard.from_table(batch)
        except RayError as error:
            raise ClusterError(f"Ray failed ({type(error).__name__}: {describe_error(error)})") from None
        if num_counted < len(wave):  # Ray Data drops the results of a process that dies
            raise ClusterError(
                f"{len(wave) - num_counted} of {len(wave)} shards were lost, because the process that counted their "
                "words died; often a node has too little memory, which its system log tells"
            )
