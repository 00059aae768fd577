"""`xlm check`: validate a job, its corpus, its checkpoint and its output before it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from jobs.console import make_table
from jobs.exit_status import ExitStatus
from jobs.job_file import dump_job
from pipelines.formatting import excerpt, format_count, format_percent, format_type, one_line
from pipelines.output import Output, describe_too_many_rejected
from pipelines.progress_line import ProgressLine
from pipelines.run import check_before_changes, check_output, prepare_job, survey_languages

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console
    from rich.table import Table

    from pipelines.job import Job
    from pipelines.output import OutputState
    from pipelines.run import LanguageSurvey, LangUse, Prepared

_MAX_LANGS = 30  # rows of a table
_MAX_LANG_CHARS = 24
_FATAL = "bold red"


def check_job(job: Job, console: Console, *, show_defaults: bool = False, quick: bool = False) -> ExitStatus:
    """Check all that a run checks before it computes the first shard, and print what it would do. Nothing is written.

    Args:
        job: the job.
        console: where to print.
        show_defaults: also print the job file with all defaults.
        quick: read only the footers of the corpus, but not the languages and ids of its rows.

    Returns:
        COMPLETE, or INCOMPLETE if more rows would be rejected or shards fail than `policy` allows.

    Raises:
        FatalError: the job cannot run.
    """
    prepared = prepare_job(job, lambda line: console.print(line, highlight=False, markup=False))
    if show_defaults:
        console.print(dump_job(prepared.job), highlight=False, markup=False)
    console.print(_describe_columns(prepared))
    console.print()
    for line in _describe_preparation(prepared):
        console.print(line, soft_wrap=True)
    state = check_output(prepared)
    for line in _describe_output(prepared, state):
        console.print(line, soft_wrap=True)
    num_left = sum(state.todo["num_rows"].to_pylist())
    if too_many := describe_too_many_rejected(state.done.values(), job.policy, num_left):
        console.print(Text(too_many, _FATAL), soft_wrap=True)
        return ExitStatus.INCOMPLETE
    if state.is_complete and Output(prepared.output).is_complete:
        return ExitStatus.COMPLETE
    rows, shards = format_count(prepared.plan.num_rows, "row"), format_count(len(prepared.plan.shards), "shard")
    if quick:
        state.check_removal(job.policy.max_removed, prepared.output.url)
        console.print(Text(f"languages and ids of the rows were not read (--quick); {rows} in {shards}", "yellow"))
        return ExitStatus.COMPLETE
    survey = _survey(job, prepared, console)
    if survey is not None:
        console.print()
        console.print(_describe_languages(survey))
        for line in _describe_survey(survey):
            console.print(line, soft_wrap=True)
    with console.status("comparing ids"):
        pre_rejected = check_before_changes(job, prepared, state)
    lines, is_allowed = _describe_rejections(job, prepared, survey, sum(map(len, pre_rejected.values())))
    for line in lines:
        console.print(line, soft_wrap=True)
    if not is_allowed:
        return ExitStatus.INCOMPLETE
    console.print(Text(f"the job can run: {rows} in {shards}", "bold"))
    return ExitStatus.COMPLETE


def _describe_rejections(
    job: Job, prepared: Prepared, survey: LanguageSurvey | None, num_repeated: int
) -> tuple[list[Text], bool]:
    """Describe which rows will be rejected. Also returns whether the job's policy allows this."""
    policy, lines = job.policy, list[Text]()
    if num_repeated:
        lines.append(
            Text(f"{format_count(num_repeated, 'row')} with the id of an earlier row will be rejected", "yellow")
        )
    num_rows = survey.num_rows if survey else prepared.plan.num_rows
    num_rejected = max(num_repeated, survey.num_rejected if survey else 0)  # a row may be both
    share = f"at least {num_rejected:,} of {format_count(num_rows, 'row')} ({format_percent(num_rejected, num_rows)})"
    if num_rejected > policy.count_allowed_rejections(num_rows):
        advice = "correct the corpus, or raise it with --set policy.max_rejected=…"
        limit = f"policy.max_rejected is {policy.max_rejected}"
        line = f"the job would end early: it would reject {share}, and {limit}; {advice}"
        return [*lines, Text(line, _FATAL)], False
    if survey and survey.num_unreadable > policy.max_failed_shards:
        unreadable = f"{format_count(survey.num_unreadable, 'shard')} cannot be read"
        limit = f"policy.max_failed_shards is {policy.max_failed_shards}"
        line = f"the job would end early: {unreadable}, and {limit}; write the damaged files again"
        return [*lines, Text(line, _FATAL)], False
    if num_rejected:
        lines.append(Text(f"{share} will be rejected; policy.max_rejected is {policy.max_rejected}", "yellow"))
    return lines, True


def _describe_columns(prepared: Prepared) -> Table:
    table = make_table("column", texts=["type"])
    for field in prepared.stages.write.schema:
        table.add_row(Text(one_line(field.name)), Text(format_type(field.type)))
    return table


def _describe_preparation(prepared: Prepared) -> Iterator[Text]:
    yield from map(Text, map(one_line, (*prepared.notes, *prepared.plan.notes)))
    for warning in prepared.warnings:
        yield Text(f"warning: {one_line(warning)}", "yellow")


def _describe_output(prepared: Prepared, state: OutputState) -> Iterator[Text]:
    url, num_done, shards = one_line(prepared.output.url), len(state.done), format_count(len(state.shards), "shard")
    if not state.num_recorded:
        yield Text(f"output {url}: new" + ("" if prepared.output.is_local else "; write access is not checked"))
    elif state.is_complete:
        yield Text(f"output {url}: has every row of the corpus; a run has nothing to do")
    else:
        yield Text(f"output {url}: has {num_done:,} of {shards}; a run computes the others")
    for note in state.notes:
        yield Text(f"a run begins by {one_line(note)}", "yellow")


def _survey(job: Job, prepared: Prepared, console: Console) -> LanguageSurvey | None:
    """Count the rows by language; None if all have the same one."""
    if job.input.lang_column is None:
        return None
    num_read, rows = 0, format_count(prepared.plan.num_rows, "row")
    line = ProgressLine(console, lambda: f"languages: {num_read:,} of {rows} read")

    def update(number: int) -> None:
        nonlocal num_read
        num_read = number
        line.update()

    with line.show():
        return survey_languages(job, prepared.tokenizer, prepared.plan.shards, update)


def _describe_languages(survey: LanguageSurvey) -> Table:
    """Return a table of the languages: those with problems first, then the most frequent ones."""
    table = make_table("lang", ["rows"], ["in the checkpoint", "words by"])
    faulty = [use for use in survey.langs if use.rejected or use.problem]
    sound = [use for use in survey.langs if not use.rejected and not use.problem]
    for uses in (faulty, sound):
        for use in uses[:_MAX_LANGS]:
            table.add_row(*_describe_language(use))
        if others := uses[_MAX_LANGS:]:
            num_rows = sum(use.num_rows for use in others)
            table.add_row(Text(f"… and {format_count(len(others), 'other')}", "dim"), f"{num_rows:,}")
    return table


def _describe_language(use: LangUse) -> tuple[Text, str, Text, Text]:
    lang = Text("null", "dim") if use.lang is None else Text(excerpt(use.lang, _MAX_LANG_CHARS))
    if use.rejected:
        return lang, f"{use.num_rows:,}", Text(f"rejected: {use.rejected}", "red"), Text()
    known = Text(use.checkpoint_lang or "no, run without a language", "" if use.checkpoint_lang else "yellow")
    if use.problem:
        return lang, f"{use.num_rows:,}", known, Text("not usable", "red")
    return lang, f"{use.num_rows:,}", known, Text(use.segmenter or "given as words")


def _describe_survey(survey: LanguageSurvey) -> Iterator[Text]:
    if survey.num_dropped:
        style, every = ("", "") if survey.num_rows else ("red", "all ")
        yield Text(f"input.filter drops {every}{format_count(survey.num_dropped, 'row')}", style)
    if survey.is_partial:
        found = f"{format_count(survey.num_rows, 'row')} have {format_count(survey.num_values, 'different value')}"
        yield Text(f"the first {found}; input.lang is probably the wrong column", "red")
