"""Compute the logits of rows with gold labels in this process, as `xlm try` computes rows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from pipelines.calibration.scores import choices, join, several_labels, single_label, words
from pipelines.corpus import planned_shards
from pipelines.environment import set_threads_to_wait
from pipelines.errors import FatalError, ShardError
from pipelines.evaluation import LabelNumbers
from pipelines.formatting import excerpt, format_count
from pipelines.rows import decode_texts, id_texts, read_sequences
from pipelines.stages import Identify, Tokenize
from pipelines.tasks import MultipleChoice, TextClassification, TokenClassification

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from pipelines.calibration.scores import ScoresAt
    from pipelines.evaluation import GoldRows
    from pipelines.run import Prepared
    from pipelines.tasks import TaskSettings
    from xlm_core.decoding import Sequences

pc: Any = pyarrow.compute  # its functions are generated at import, so type checkers do not know them


@dataclass(frozen=True)
class GoldScores:
    """Scores of the rows with gold labels.

    Attributes:
        rows: their number.
        scores_at: their scores at a temperature.
        temperature: the one that the head has.
    """

    rows: int
    scores_at: ScoresAt
    temperature: float


def compute_gold_scores(
    prepared: Prepared, number: int, gold: GoldRows, notify: Callable[[int], None] = lambda _: None
) -> GoldScores:
    """Compute the logits of all rows of the corpus that have a gold label.

    Args:
        prepared: the job.
        number: of the task.
        gold: the gold labels; the first column is the label.
        notify: receives the number of rows that are done.

    Raises:
        FatalError: a stage failed, a label is not one of the head, or does not fit its row.
    """
    set_threads_to_wait()
    import torch  # here, because it takes seconds

    from xlm_core.inference import LogitCollector, choose_precision, run_collectors

    settings = prepared.stages.infer
    on_gpu = prepared.job.compute.gpus_per_model > 0 and torch.cuda.is_available()
    device = torch.device("cuda" if on_gpu else "cpu")
    dtype = choose_precision(settings.precision, device)
    model, tasks = settings.load(device, dtype, settings.max_tokens, None)
    head: Any = tasks[number].head  # pyright: ignore[reportAttributeAccessIssue]  (all tasks with a temperature)
    task = prepared.job.tasks[number]
    num_scores = None if isinstance(task, MultipleChoice) else head.config.num_labels
    gold_labels = _GoldLabels(task, head.config, prepared.job.input.text_columns[0])
    parts: list[ScoresAt] = []
    num_rows = 0
    try:
        for rows, labels in _rows_with_gold(prepared, gold):
            sequences = read_sequences(rows)
            collected, _ = run_collectors(
                model, sequences, lambda sequences=sequences: [LogitCollector(sequences, head, num_scores)]
            )
            parts.append(gold_labels.score(collected[0], sequences, rows, labels))
            num_rows += len(rows)
            notify(num_rows)
    except ShardError as error:
        raise FatalError(str(error)) from None
    if not parts:
        raise FatalError("no row of the corpus has a gold label; name the column with the ids with --id")
    return GoldScores(num_rows, join(parts), head.config.score_temperature)


def _rows_with_gold(prepared: Prepared, gold: GoldRows) -> Iterator[tuple[pa.RecordBatch, pa.Array]]:
    """Yield tokenized rows and their gold labels, one shard after another."""
    stages, id_column = prepared.stages, prepared.job.input.id
    assert id_column is not None
    identify = stages.identify and Identify(stages.identify, {})
    tokenize = Tokenize(stages.tokenize, {})
    column = gold.table.column(0)
    for shard in stages.read.read(planned_shards(prepared.plan.shards)):
        if shard.failure is not None:
            raise FatalError(shard.failure.message)
        has_label = pc.is_in(id_texts(shard.rows.column(id_column)), value_set=gold.ids)
        rows = shard.rows.filter(has_label)
        if not len(rows):
            continue
        shard = replace(shard, rows=rows, stats=replace(shard.stats, rows_in=len(rows)))
        rows = tokenize.step(identify.step(shard) if identify else shard).rows
        if len(rows):  # the tokenizer may have rejected all
            found = pc.index_in(id_texts(rows.column(id_column)), value_set=gold.ids)
            yield rows, column.take(found).combine_chunks()


class _GoldLabels:
    """Converts the gold labels of a task, and scores them."""

    def __init__(self, task: TaskSettings, head: Any, text_column: str):
        self._task, self._text_column = task, text_column
        self._names = [head.id2label[i] for i in range(head.num_labels)]

    def score(
        self, logits: NDArray[np.float32], sequences: Sequences, rows: pa.RecordBatch, gold: pa.Array
    ) -> ScoresAt:
        """Return the scores of a shard."""
        if pa.types.is_dictionary(gold.type):
            gold = gold.dictionary_decode()
        match self._task:
            case MultipleChoice():
                return choices(logits, sequences, self._choices(sequences, gold))
            case TextClassification(problem="multi-label"):
                row = np.repeat(np.arange(len(gold)), pc.list_value_length(gold).to_numpy(zero_copy_only=False))
                has_label = np.zeros((len(gold), len(self._names)), np.bool_)
                has_label[row, self._encode(gold.flatten())] = True
                return several_labels(logits, sequences, has_label)
            case TokenClassification():
                texts: list[Any] = decode_texts(rows.column(self._text_column))[0]
                self._check_words(texts, gold)
                return words(logits, sequences, texts, self._encode(gold.flatten()), self._task.pieces)
            case _:
                return single_label(logits, sequences, self._encode(gold))

    def _encode(self, labels: pa.Array) -> NDArray[np.int64]:
        numbers = LabelNumbers(self._names)
        codes = numbers.encode(labels)
        if unknown := numbers.describe_unknown():
            raise FatalError(f"{unknown}; name another column with --gold-column, or leave rows out with --filter")
        return codes

    def _choices(self, sequences: Sequences, gold: pa.Array) -> NDArray[np.int64]:
        numbers = gold.to_numpy(zero_copy_only=False).astype(np.int64)
        is_invalid = (numbers < 0) | (numbers >= np.diff(sequences.row_offsets))
        if is_invalid.any():
            num_invalid = format_count(int(is_invalid.sum()), "row")
            raise FatalError(f"the gold label of {num_invalid} is not a choice; they must count from 0")
        return numbers

    def _check_words(self, texts: list[list[str]], gold: pa.Array) -> None:
        lengths = pc.list_value_length(gold).to_pylist()
        wrong = [i for i, (text, length) in enumerate(zip(texts, lengths, strict=True)) if len(text) != length]
        if wrong:
            counts = f"{format_count(len(texts[wrong[0]]), 'word')} and {format_count(lengths[wrong[0]], 'gold label')}"
            raise FatalError(
                f"{format_count(len(wrong), 'row')} of the corpus with another number of words in "
                f"{excerpt(self._text_column)} than of gold labels, such as {counts}; input.text must be the gold words"
            )
