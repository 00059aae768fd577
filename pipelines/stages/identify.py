"""The identify stage of jobs that detect languages: find the language of each row by the beginning of its text."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from pipelines.environment import set_threads_to_wait
from pipelines.errors import ShardError
from pipelines.rows import DETECTED_COLUMNS, decode_texts, join_words
from pipelines.stages.cpu_process import CpuProcess
from pipelines.stages.time_limit import report_progress
from xlm_core.errors import InferenceError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pipelines.rows import PreRejected, Shard
    from pipelines.stages.settings import IdentifyStageSettings
    from pipelines.tasks import Task
    from xlm_core import XLMTokenizer
    from xlm_core.inference import Model

    Identifier = tuple[XLMTokenizer, Model, Task[Any]]

_MAX_CHARS = 1_000  # of a row; the rest of a long text hardly changes the language, and would take most of the time


class Identify(CpuProcess["Identifier"]):
    """A process of the identifier pool. Its model stays loaded from shard to shard, and computes with one CPU.

    Args:
        settings: what the process needs.
        pre_rejected, max_starts, niceness: see `CpuProcess`.
    """

    stage = "identify"
    process = "identifier"

    def __init__(
        self,
        settings: IdentifyStageSettings,
        pre_rejected: PreRejected,
        *,
        max_starts: int | None = None,
        niceness: int = 0,
    ):
        super().__init__(settings.schema, settings.id_column, settings.timeout_s, pre_rejected, max_starts, niceness)
        self._settings = settings

    def load(self) -> Identifier:
        """See `CpuProcess`."""
        set_threads_to_wait()
        identifier = self._settings.load()
        _, model, _ = identifier
        for layer in model.trunk.layers:
            layer.register_forward_hook(lambda *_: report_progress())
        return identifier

    def compute(self, shard: Shard, loaded: Identifier) -> Shard:
        """Add the language of each row and its score; both are null if a row has no usable text."""
        import torch  # `load` has imported it

        torch.set_num_threads(1)  # Ray may call this from several threads, and each has its own number
        return self._add_languages(shard, loaded)

    def _add_languages(self, shard: Shard, identifier: Identifier) -> Shard:
        texts = list(_join_texts(shard.rows, self._settings.text_columns))
        distinct = {text: i for i, text in enumerate(dict.fromkeys(filter(None, texts)))}
        columns: list[pa.Array] = [pa.nulls(0, data_type) for data_type in DETECTED_COLUMNS.values()]
        if distinct:
            columns = self._identify(list(distinct), shard.rows, identifier)
        source = pa.array(map(distinct.get, texts), pa.int64())
        arrays = [*shard.rows.columns, *(column.take(source) for column in columns)]
        return replace(shard, rows=pa.RecordBatch.from_arrays(arrays, schema=self._settings.schema))

    def _identify(self, texts: Sequence[str], rows: pa.RecordBatch, identifier: Identifier) -> list[pa.Array]:
        """Return the best label of each text, and its score."""
        from xlm_core.inference import run_collectors
        from xlm_core.tokenizer import RowTokens

        tokenizer, model, task = identifier
        tokens = RowTokens.encode(
            tokenizer,
            [[(text,)] for text in texts],
            [None] * len(texts),
            max_length=self._settings.max_length,
            bypass_tokenizer=self._settings.bypass_tokenizer,
            with_offsets=False,
            on_row=report_progress,
        )
        sequences = tokens.to_sequences(np.full(len(texts), -1, np.int32), with_offsets=False)
        try:
            (result,), _ = run_collectors(model, sequences, lambda: [task.collect(sequences, rows)])
        except InferenceError as error:
            raise ShardError(f"input.lang: {error}") from None
        return task.columns(result, sequences, rows)


def _join_texts(rows: pa.RecordBatch, text_columns: Sequence[str]) -> Iterator[str]:
    """Yield the beginning of the texts of each row that are UTF-8, joined by spaces; empty if there are none."""
    columns = [decode_texts(rows.column(name)) for name in text_columns]
    for i in range(len(rows)):
        found = (texts[i] for texts, invalid in columns if i not in invalid)
        beginnings = (join_words(text).strip()[:_MAX_CHARS] for text in found if text is not None)
        yield " ".join(filter(None, beginnings))[:_MAX_CHARS]
