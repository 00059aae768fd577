"""multiple-choice: the best of each row's choices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa

from pipelines.errors import FatalError
from pipelines.results import (
    compare_categories,
    compare_numbers,
    labels_of,
    list_column,
    list_of,
    numbers_of,
    render_numbers,
    required,
)
from pipelines.rows import is_words
from pipelines.tasks.task import HeadTaskSettings, Task

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from pipelines.results import CompareFields, Statistic
    from pipelines.storage import StoreSettings
    from xlm_core import MultipleChoiceHead, XLMConfig
    from xlm_core.decoding import Sequences
    from xlm_core.inference import Choices, Collector, Model


class MultipleChoice(HeadTaskSettings):
    """Select one of each row's choices. Writes columns `choice`, which counts from 0, and `scores`.

    `input.text` is [premise, choice, choice …], or [premise, choices] with a column of lists.
    """

    kind: ClassVar[str] = "multiple-choice"
    reads_choices: ClassVar[bool] = True
    supports_windows: ClassVar[bool] = False

    def column_comparisons(self) -> dict[str, CompareFields]:
        """See `TaskSettings`."""
        return {"choice": compare_categories("the choice"), "scores": compare_numbers("the numbers")}

    def check_text_columns(self, num_columns: int) -> str | None:
        """See `TaskSettings`."""
        if num_columns >= 2:
            return None
        return "multiple-choice needs [premise, choice, choice …], or [premise, column of lists]"

    def prepare(
        self,
        trunk: XLMConfig,
        head_folder: Path,
        text_fields: Sequence[pa.Field],
        stores: Sequence[StoreSettings] = (),
    ) -> MultipleChoiceTask:
        """See `TaskSettings`. With two columns of text, the second must contain lists."""
        if len(text_fields) == 2 and not is_words(text_fields[1].type):
            raise FatalError(
                f"multiple-choice: {text_fields[1].name} is {text_fields[1].type}, one choice a row; name a column of "
                "lists, or several columns of choices"
            )
        self.read_head_config("multiple-choice", head_folder, trunk)
        return MultipleChoiceTask(self)

    def render(self, row: Mapping[str, Any], schema: pa.Schema) -> Iterator[tuple[str, str]]:
        """See `TaskSettings`. The choice shares a line with the scores."""
        choice, scores = row[self.column("choice")], row[self.column("scores")]
        yield self.column("choice"), f"{choice} {scores[choice]:.2f} of {render_numbers(scores)}"

    def statistics(self, rows: pa.Table) -> Iterator[Statistic]:
        """See `TaskSettings`."""
        choice, scores = self.column("choice"), self.column("scores")
        yield labels_of(choice, rows[choice].chunk(0))
        best = [max(row, default=0.0) for row in rows[scores].to_pylist()]
        yield numbers_of(f"best of {scores}", pa.array(best, pa.float64()))


class MultipleChoiceTask(Task["Choices"]):
    """The task of `MultipleChoice`."""

    def __init__(self, settings: MultipleChoice):
        self.settings = settings
        self.head: MultipleChoiceHead | None = None

    @property
    def fields(self) -> list[pa.Field]:
        """See `Task`."""
        choice, scores = self.settings.columns
        return [
            required(choice, pa.int32(), {"counts": "from 0, in the order of the choices"}),
            required(scores, list_of(pa.float32())),
        ]

    def load(self, model: Model, head_folder: Path) -> None:
        """See `Task`."""
        from xlm_core import MultipleChoiceHead
        from xlm_core.inference import load_head

        self.head = load_head(MultipleChoiceHead, head_folder, model)

    def collect(self, sequences: Sequences, rows: pa.RecordBatch) -> Collector[Choices]:
        """See `Task`."""
        from xlm_core.inference import ChoiceCollector

        assert self.head is not None
        return ChoiceCollector(sequences, self.head)

    def columns(self, result: Choices, sequences: Sequences, rows: pa.RecordBatch) -> list[pa.Array]:
        """See `Task`."""
        scores = list_column(list_of(pa.float32()), sequences.row_offsets, pa.array(result.scores, pa.float32()))
        return [pa.array(result.best, pa.int32()), scores]
