"""The interfaces of a task: its settings in the job file, and the prepared task.

A module of this folder defines one kind of task. Its settings know everything that needs no model: the columns, how to
verify, compare and display them, and what the task requires of the rest of the job. `TaskSettings.prepare` checks them
against the checkpoint on the driver and returns a `Task`, without weights. The task is sent to every model process,
which loads the head, creates a `Collector` of `xlm_core.inference` for each shard, and converts its result to columns.

Reader, tokenizer and writer processes import these modules too, so modules of tasks import torch only where they use
it.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from pydantic import Field

from pipelines.results import render_value, verify_finite
from pipelines.settings import KindSettings
from pipelines.storage import Url

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import pyarrow as pa

    from pipelines.results import CompareFields, ResultFindings, Statistic
    from pipelines.storage import StoreSettings
    from xlm_core import XLMConfig
    from xlm_core.checkpoint import HeadKind
    from xlm_core.decoding import Sequences
    from xlm_core.inference import Collector, Model

ResultT = TypeVar("ResultT")

TRAINED_LANGS = "trained_langs"  # in the metadata of a column of labels: the languages that its head was trained on


class TaskSettings(KindSettings, ABC):
    """The settings of one task of a job.

    Attributes:
        needs_offsets: whether it needs the character offsets and word ids of the tokens.
        reads_choices: whether it reads a row as several sequences, one for each choice.
        supports_windows: whether it can merge the results of several windows of a row.
        quoted_text: index in `input.text` of the text that its spans quote; None if it has no spans.
    """

    needs_offsets: ClassVar[bool] = False
    reads_choices: ClassVar[bool] = False
    supports_windows: ClassVar[bool] = True
    quoted_text: ClassVar[int | None] = None

    prefix: str = Field(
        default="",
        pattern=r"^([A-Za-z][A-Za-z0-9_]{0,62})?$",
        description="Begins the names of the task's columns: with topic_, label is topic_label. A letter, then "
        "letters, digits and underscores.",
    )

    @abstractmethod
    def column_comparisons(self) -> dict[str, CompareFields]:
        """Return the columns that the task adds, in order and without its prefix, and how each is compared."""

    @abstractmethod
    def prepare(
        self,
        trunk: XLMConfig,
        head_folder: Path,
        text_fields: Sequence[pa.Field],
        stores: Sequence[StoreSettings] = (),
    ) -> Task[Any]:
        """Check the task against the trunk and its head, by names and shapes alone.

        Args:
            trunk: the trunk's configuration.
            head_folder: the directory with the task's head, which may be the trunk's.
            text_fields: the columns of text, as they are read.
            stores: options of object stores.

        Raises:
            FatalError: the head is missing, does not fit the trunk, or is of a kind that the task cannot use.
        """

    @property
    def columns(self) -> list[str]:
        """The columns that the task adds to the output, in order."""
        return [self.column(name) for name in self.column_comparisons()]

    def column(self, name: str) -> str:
        """Return the name in the output of one of the task's columns."""
        return f"{self.prefix}{name}"

    @property
    def head_url(self) -> str | None:
        """Where the head is stored; None if the trunk's checkpoint contains it, or the task has none."""
        return None

    @property
    def mask_marker(self) -> str | None:
        """The string that marks a masked position in the text; None if the task reads no masks."""
        return None

    @property
    def num_new_tokens(self) -> int:
        """The maximum number of tokens that the task appends to a row; they need positions in the model."""
        return 0

    def check_text_columns(self, num_columns: int) -> str | None:
        """Return what is wrong with the number of columns in `input.text`; None if nothing is."""
        return None

    def verify(self, rows: pa.Table, texts: Sequence[str] | None, findings: ResultFindings) -> None:
        """Verify the task's columns in a part, without the model.

        Args:
            rows: the part.
            texts: for each row, the text that the spans quote (`quoted_text`); None if it cannot be read.
            findings: receives the faults.
        """
        for name in self.columns:
            verify_finite(findings, name, rows[name].combine_chunks())

    def render(self, row: Mapping[str, Any], schema: pa.Schema) -> Iterator[tuple[str, str]]:
        """Yield lines that display the task's results in one row: the name of a column, and text for its value.

        Args:
            row: the row's values as Python objects, by column.
            schema: the schema of the output.
        """
        for name in self.columns:
            yield name, render_value(row[name], schema.field(name).type)

    def statistics(self, rows: pa.Table) -> Iterator[Statistic]:
        """Yield what a report shows of the task's columns; nothing by default.

        Args:
            rows: some rows of the output. The columns have one chunk.
        """
        yield from ()


class HeadTaskSettings(TaskSettings):
    """The settings of a task with a head, which may be stored apart from the trunk."""

    head: Url | None = Field(
        default=None, description="Directory or URL of the head. By default the model's checkpoint contains it."
    )

    @property
    def head_url(self) -> str | None:
        """Where the head is stored; None if the trunk's checkpoint contains it."""
        return self.head

    def read_head_config(self, kind: HeadKind, head_folder: Path, trunk: XLMConfig) -> XLMConfig:
        """Check that a directory has a head of a kind that fits the trunk, and return the head's configuration.

        Raises:
            FatalError: the head is missing, was trained with another model, or has weights that are not finite.
        """
        from xlm_core.inference import read_head_config

        return read_head_config(self.kind, kind, head_folder, trunk)


class Task(ABC, Generic[ResultT]):
    """A task that was checked against its checkpoint.

    Attributes:
        fields: the columns that it adds.
        notes: how the task reads its head, for `xlm check`.
        warnings: what may be wrong with the head.
    """

    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    @abstractmethod
    def fields(self) -> list[pa.Field]:
        """The columns that the task adds, without regard to any data."""

    @abstractmethod
    def load(self, model: Model, head_folder: Path) -> None:
        """Load the head in a model process.

        Args:
            model: the loaded trunk.
            head_folder: the directory with the head; the trunk's, if the job names no other.
        """

    @abstractmethod
    def collect(self, sequences: Sequences, rows: pa.RecordBatch) -> Collector[ResultT]:
        """Return a collector for at least one row.

        Args:
            sequences: the tokens of the rows.
            rows: the rows, as the tokenize stage passes them on.
        """

    @abstractmethod
    def columns(self, result: ResultT, sequences: Sequences, rows: pa.RecordBatch) -> list[pa.Array]:
        """Convert the collector's result to the task's columns, in the order of `fields`. Takes what `collect` took."""


def label_metadata(head: XLMConfig, **more: str) -> dict[str, str]:
    """Return the metadata of a column of labels: the labels of the head, and the languages that it was trained on."""
    from xlm_core.inference import head_labels

    lists = {"labels": head_labels(head), TRAINED_LANGS: head.trained_langs}
    return {name: json.dumps(values, ensure_ascii=False) for name, values in lists.items() if values is not None} | more


def trained_langs_notes(kind: str, head: XLMConfig) -> tuple[str, ...]:
    """Return what `xlm check` says about the languages that a head was trained on; nothing if they are not known."""
    if head.trained_langs is None:
        return ()
    return (f"{kind}: the head was trained on texts in {', '.join(head.trained_langs)}",)
