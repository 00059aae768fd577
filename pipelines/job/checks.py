"""Check settings that are valid each on their own, but not together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.formatting import format_count
from xlm_core.inference import DEFAULT_MAX_LENGTH

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pipelines.job.input import InputSettings
    from pipelines.job.sections import OutputSettings, TokenizerSettings
    from pipelines.settings import Violation
    from pipelines.tasks import TaskSettings

_SET_PREFIX = "set the prefix of the task, as in prefix: my_"


def check_combinations(
    input_settings: InputSettings, tasks: Sequence[TaskSettings], tokenizer: TokenizerSettings, output: OutputSettings
) -> list[Violation]:
    """Return every combination of settings that cannot work, with the setting to change."""
    return [
        *_check_text_columns(input_settings, tasks),
        *_check_windows(input_settings, tasks, tokenizer),
        *_check_mask_markers(tasks),
        *_check_detected_columns(input_settings),
        *_check_count_columns(input_settings, tasks, output),
    ]


def check_task_columns(input_settings: InputSettings | None, tasks: Sequence[TaskSettings]) -> Iterator[Violation]:
    """Yield tasks that write a column of the input, or the same column as an earlier task.

    Args:
        input_settings: None if they are not valid.
        tasks: the tasks. The paths of the violations are relative to them.
    """
    taken: dict[str, tuple[str, str]] = {}
    if input_settings is not None:
        taken = {name.lower(): ("input.keep", name) for name in input_settings.kept}
        taken |= {name.lower(): ("the row's id", name) for name in input_settings.id_columns}
        taken |= {name.lower(): ("input.lang", name) for name in input_settings.detected_columns}
    for i, task in enumerate(tasks):
        for message in _describe_clashes(task, taken):
            yield (i,), message
        taken = {name.lower(): (f"tasks.{i} ({task.kind})", name) for name in task.columns} | taken


def _describe_clashes(task: TaskSettings, taken: Mapping[str, tuple[str, str]]) -> Iterator[str]:
    """Yield a message for each owner of columns that the task writes too, apart from upper and lower case.

    Args:
        task: the task.
        taken: the owner and the name of each column, by its name in lower case: DuckDB, Spark, Hive and BigQuery cannot
            distinguish names that differ only in case.
    """
    clashes: dict[str, dict[str, str]] = {}
    for column in task.columns:
        if found := taken.get(column.lower()):
            clashes.setdefault(found[0], {})[column] = found[1]
    for owner, names in clashes.items():
        others = list(names.values())
        same = others == list(names)
        clash = "and so does" if same else f"which most readers cannot tell from {', '.join(others)} of"
        rename = f", or rename the kept column, as in keep: {{source_{others[0].lower()}: {others[0]}}}"
        yield f"{task.kind} writes {', '.join(names)}, {clash} {owner}; {_SET_PREFIX}{rename * (owner == 'input.keep')}"


def _check_text_columns(input_settings: InputSettings, tasks: Sequence[TaskSettings]) -> Iterator[Violation]:
    num_columns = len(input_settings.text_columns)
    choice_kinds = sorted({task.kind for task in tasks if task.reads_choices})
    other_kinds = sorted({task.kind for task in tasks if not task.reads_choices})
    if choice_kinds and other_kinds:
        yield (
            ("tasks",),
            f"{', '.join(choice_kinds)} reads a row as several sequences, {', '.join(other_kinds)} as one; run them "
            "as two jobs",
        )
    if not choice_kinds and num_columns > 2:
        yield (
            ("input", "text"),
            f"{num_columns} columns are read as a premise and its choices, which only multiple-choice supports; name "
            "one or two",
        )
    for message in dict.fromkeys(task.check_text_columns(num_columns) for task in tasks):
        if message is not None:
            yield ("input", "text"), message


def _check_windows(
    input_settings: InputSettings, tasks: Sequence[TaskSettings], tokenizer: TokenizerSettings
) -> Iterator[Violation]:
    if tokenizer.on_overflow != "window":
        return
    max_length = tokenizer.max_length or DEFAULT_MAX_LENGTH
    if message := check_overlap(tokenizer.overlap_tokens, max_length, len(input_settings.text_columns)):
        yield ("tokenizer", "overlap_tokens"), message
    for i, task in enumerate(tasks):
        if not task.supports_windows:
            yield ("tasks", i), f"{task.kind} cannot merge windows; set tokenizer.on_overflow to truncate or reject"


def check_overlap(overlap_tokens: int, max_length: int, num_columns: int) -> str | None:
    """Return what is wrong with the overlap of windows; None if nothing is.

    Args:
        overlap_tokens: the setting.
        max_length: maximum number of tokens of a window, with special tokens.
        num_columns: number of text columns.
    """
    window_tokens = max_length - 1 - min(num_columns, 2)
    if overlap_tokens < window_tokens:
        return None
    room = format_count(max(window_tokens, 0), "token")
    return f"got {overlap_tokens}, but a window has room for {room} besides the special ones; lower it"


def _check_mask_markers(tasks: Sequence[TaskSettings]) -> Iterator[Violation]:
    markers = {task.mask_marker for task in tasks if task.mask_marker is not None}
    if len(markers) > 1:
        yield (
            ("tasks",),
            f"all tasks of a job read the same text; set one mask for all, got {', '.join(sorted(markers))}",
        )


def _check_detected_columns(input_settings: InputSettings) -> Iterator[Violation]:
    columns = (*input_settings.id_columns, *input_settings.kept)
    if shared := [column for column in columns if column.lower() in input_settings.detected_columns]:
        yield (
            ("input", "lang"),
            f"detect adds {', '.join(input_settings.detected_columns)} to the output, which has {', '.join(shared)} "
            f"from the input; rename that column, as in keep: {{source_{shared[0].lower()}: {shared[0]}}}",
        )


def _check_count_columns(
    input_settings: InputSettings, tasks: Sequence[TaskSettings], output: OutputSettings
) -> Iterator[Violation]:
    taken = {name.lower(): ("output.token_counts", name) for name in output.count_columns}
    for i, task in enumerate(tasks):
        for message in _describe_clashes(task, taken):
            yield ("tasks", i), message
    columns = (*input_settings.id_columns, *input_settings.kept)
    if shared := [column for column in columns if column.lower() in taken]:
        yield (
            ("output", "token_counts"),
            f"the output has {', '.join(shared)} from the input; rename that column, as in keep: "
            f"{{source_{shared[0].lower()}: {shared[0]}}}, or remove token_counts",
        )
