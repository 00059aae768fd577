"""What no single setting of a job can get wrong, but several together can."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.tasks.settings import FillMask, MultipleChoice, QuestionAnswering, TextGeneration

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pipelines.job.input import InputSettings
    from pipelines.job.sections import OutputSettings, TokenizerSettings
    from pipelines.settings import Violation
    from pipelines.tasks.task_spec import TaskSettings


def contradictions(
    source: InputSettings, tasks: Sequence[TaskSettings], tokenizer: TokenizerSettings, output: OutputSettings
) -> list[Violation]:
    """List what in a job does not go together, each with its place and what to do."""
    return [
        *_texts(source, tasks),
        *_windows(source, tasks, tokenizer),
        *_masks(tasks),
        *_counts(source, tasks, output),
    ]


def _texts(source: InputSettings, tasks: Sequence[TaskSettings]) -> Iterator[Violation]:
    """Which columns of text a task needs."""
    columns, kinds = len(source.text_columns), {task.kind for task in tasks}
    has_choices = MultipleChoice.kind in kinds
    if has_choices and len(kinds) > 1:
        others = ", ".join(sorted(kinds - {MultipleChoice.kind}))
        yield ("tasks",), f"multiple-choice reads a row as several sequences, {others} as one; run them as two jobs"
    if has_choices and columns < 2:
        yield ("input", "text"), "multiple-choice needs [premise, choice, choice …], or [premise, column of lists]"
    if not has_choices and columns > 2:
        yield ("input", "text"), f"{columns} columns are a premise and choices, which only multiple-choice reads"
    if QuestionAnswering.kind in kinds and columns != 2:
        yield ("input", "text"), "question-answering needs two columns, [question, context]"


def _windows(source: InputSettings, tasks: Sequence[TaskSettings], spec: TokenizerSettings) -> Iterator[Violation]:
    """What windows go with."""
    if spec.on_overflow != "window":
        return
    room = spec.max_length - 1 - min(len(source.text_columns), 2)
    if spec.overlap_tokens >= room:
        yield (
            ("tokenizer", "overlap_tokens"),
            f"got {spec.overlap_tokens}, but a window has room for {room} tokens beside the special ones; lower it",
        )
    for i, task in enumerate(tasks):
        if isinstance(task, MultipleChoice | TextGeneration):
            yield ("tasks", i), f"{task.kind} cannot be put together from windows; set tokenizer.on_overflow to reject"


def _masks(tasks: Sequence[TaskSettings]) -> Iterator[Violation]:
    """One text has one mark for masks."""
    marks = {task.mask for task in tasks if isinstance(task, FillMask)}
    if len(marks) > 1:
        yield (
            ("tasks",),
            f"all fill-mask tasks of a job read one text; give them one mask, not {', '.join(sorted(marks))}",
        )


def _counts(source: InputSettings, tasks: Sequence[TaskSettings], output: OutputSettings) -> Iterator[Violation]:
    """Columns of counts beside those of input and tasks."""
    counts = output.count_columns
    for i, task in enumerate(tasks):
        if shared := [column for column in task.columns if column in counts]:
            yield (
                ("tasks", i),
                f"{task.kind} writes {', '.join(shared)}, and so does output.token_counts; set the task's name, which "
                "goes before its columns",
            )
    if shared := [column for column in (*source.id_columns, *source.keep) if column in counts]:
        yield (
            ("output", "token_counts"),
            f"the output has {', '.join(shared)} from the input; rename it, or leave out token_counts",
        )
