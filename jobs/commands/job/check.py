"""`xlm check`: validate a job, its corpus, its checkpoint and its output before it runs."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from rich.text import Text

from jobs.console import make_table, print_json
from jobs.exit_status import ExitStatus
from jobs.job_file import dump_job
from pipelines.formatting import excerpt, format_count, format_kept, format_percent, format_type, one_line
from pipelines.output import Output, describe_too_many_rejected
from pipelines.progress_line import ProgressLine
from pipelines.run import (
    check_before_changes,
    check_output,
    check_removal,
    describe_certain_rejections,
    prepare_job,
    survey_languages,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console, RenderableType
    from rich.table import Table

    from pipelines.job import Job
    from pipelines.output import OutputState
    from pipelines.run import LanguageSurvey, LangUse, Prepared

_MAX_LANGS = 30  # rows of a table
_MAX_LANG_CHARS = 24
_FATAL = "bold red"


@dataclass
class CheckReport:
    """What was found, for JSON: the values of the printed lines.

    Attributes:
        can_run: whether a run would not end early for what was found.
        job: the job with all defaults, if it was asked for.
        columns: names and types of the output's columns.
        rows: number of rows of the corpus, before the filter.
        rows_dropped: number of rows that the filter drops; None if this is not known.
        shards: number of shards.
        notes: about the corpus and the heads.
        warnings: what may be wrong, although the job can run.
        output: the state of the output, and what a run would change first.
        languages: the languages of the rows; None if they were not read.
        rows_rejected: a lower bound of the rows that will be rejected.
        rows_repeated: those with the id of an earlier row.
        problem: why the job would end early.
    """

    can_run: bool = True
    job: dict[str, Any] | None = None
    columns: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    rows: int = 0
    rows_dropped: int | None = None
    shards: int = 0
    notes: list[str] = field(default_factory=list[str])
    warnings: list[str] = field(default_factory=list[str])
    output: dict[str, Any] = field(default_factory=dict[str, Any])
    languages: dict[str, Any] | None = None
    rows_rejected: int = 0
    rows_repeated: int = 0
    problem: str | None = None


def check_job(
    job: Job, console: Console, *, show_defaults: bool = False, quick: bool = False, as_json: bool = False
) -> ExitStatus:
    """Check all that a run checks before it computes the first shard, and print what it would do. Nothing is written.

    Args:
        job: the job.
        console: where to print.
        show_defaults: also print the job file with all defaults.
        quick: read only the footers of the corpus, but not the languages and ids of its rows.
        as_json: print JSON instead of text.

    Returns:
        COMPLETE, or INCOMPLETE if more rows would be rejected or shards fail than `policy` allows.

    Raises:
        FatalError: the job cannot run.
    """
    report = CheckReport()
    for item in _check(job, console, report, show_defaults=show_defaults, quick=quick):
        if not as_json:
            console.print(item, soft_wrap=isinstance(item, Text) or None)
    if as_json:
        print_json(asdict(report))
    return ExitStatus.COMPLETE if report.can_run else ExitStatus.INCOMPLETE


def _check(
    job: Job, console: Console, report: CheckReport, *, show_defaults: bool, quick: bool
) -> Iterator[RenderableType]:
    """Check a job step by step. Yields what to print after each step, and fills the report."""
    prepared = prepare_job(job, lambda line: console.print(line, highlight=False, markup=False))
    plan, schema = prepared.plan, prepared.stages.write.schema
    report.rows, report.shards = plan.num_corpus_rows, len(plan.shards)
    report.rows_dropped = 0 if job.input.filter is None else None
    report.columns = [{"name": column.name, "type": format_type(column.type)} for column in schema]
    report.notes, report.warnings = [*prepared.notes, *plan.corpus.notes], [*prepared.warnings]
    if show_defaults:
        report.job = prepared.job.model_dump(mode="json")
        yield Text(dump_job(prepared.job))
    yield _describe_columns(report)
    yield ""
    yield from _describe_preparation(report)
    state = check_output(prepared)
    report.output = _summarize_output(prepared, state)
    yield from _describe_output(report.output, report.shards)
    num_left = int(state.todo["num_rows"].to_numpy().sum())
    if too_many := describe_too_many_rejected(state.totals(), job.policy, num_left):
        report.can_run, report.problem = False, too_many
        yield Text(too_many, _FATAL)
        return
    if state.is_complete and Output(prepared.output).is_complete:
        return
    if quick:
        check_removal(job, prepared, state)
        rows = _describe_rows(report, prepared)
        yield Text(f"languages and ids of the rows were not read (--quick); {rows}", "yellow")
        return
    survey = _survey(job, prepared, console)
    if survey is not None:
        survey.num_dropped += plan.pruned.num_rows
        if survey.is_exact:
            report.rows_dropped = survey.num_dropped
        report.languages = _summarize_languages(survey)
        yield ""
        yield _describe_languages(survey)
        yield from _describe_survey(survey, report.rows)
    with console.status("comparing ids"):
        report.rows_repeated = sum(map(len, check_before_changes(job, prepared, state).repeated.values()))
    is_new = Output(prepared.output).read_job() is None
    yield from _check_rejections(job, report, survey, plan.num_rows, is_new=is_new)
    if report.can_run:
        yield Text(f"the job can run: {_describe_rows(report, prepared)}", "bold")


def _describe_rows(report: CheckReport, prepared: Prepared) -> str:
    num_kept = None if report.rows_dropped is None else report.rows - report.rows_dropped
    rows = format_kept(num_kept, prepared.plan.num_rows, report.rows)
    return f"{rows} in {format_count(report.shards, 'shard')}"


def _check_rejections(
    job: Job, report: CheckReport, survey: LanguageSurvey | None, num_read: int, *, is_new: bool
) -> Iterator[Text]:
    """Describe which rows will be rejected, and whether the job's policy allows this."""
    policy = job.policy
    if report.rows_repeated:
        rows = format_count(report.rows_repeated, "row")
        yield Text(f"{rows} with the id of an earlier row will be rejected", "yellow")
    num_rows = survey.num_rows if survey else num_read
    num_by_lang = survey.num_rejected if survey else 0
    num_rejected = max(report.rows_repeated, num_by_lang)  # a row may be both
    report.rows_rejected = num_rejected
    share = f"at least {num_rejected:,} of {format_count(num_rows, 'row')} ({format_percent(num_rejected, num_rows)})"
    report.problem = describe_certain_rejections(
        policy, survey, num_rows, (num_rejected, min(num_rows, num_by_lang + report.rows_repeated)), is_new=is_new
    )
    if report.problem is None and survey and survey.num_unreadable > policy.max_failed_shards:
        unreadable = f"{format_count(survey.num_unreadable, 'shard')} cannot be read"
        limit = f"policy.max_failed_shards is {policy.max_failed_shards}"
        report.problem = f"the job would end early: {unreadable}, and {limit}; write the damaged files again"
    if report.problem is not None:
        report.can_run = False
        yield Text(report.problem, _FATAL)
    elif num_rejected:
        yield Text(f"{share} will be rejected; policy.max_rejected is {policy.max_rejected}", "yellow")


def _describe_columns(report: CheckReport) -> Table:
    table = make_table("column", texts=["type"])
    for column in report.columns:
        table.add_row(Text(one_line(column["name"])), Text(column["type"]))
    return table


def _describe_preparation(report: CheckReport) -> Iterator[Text]:
    yield from map(Text, map(one_line, report.notes))
    for warning in report.warnings:
        yield Text(f"warning: {one_line(warning)}", "yellow")


def _summarize_output(prepared: Prepared, state: OutputState) -> dict[str, Any]:
    return {
        "url": prepared.output.url,
        "is_new": not state.num_recorded,
        "is_complete": state.is_complete,
        "shards_done": state.num_done,
        "write_access_checked": prepared.output.is_local,
        "notes": state.notes,
    }


def _describe_output(output: dict[str, Any], num_shards: int) -> Iterator[Text]:
    url, shards = one_line(output["url"]), format_count(num_shards, "shard")
    if output["is_new"]:
        yield Text(f"output {url}: new" + ("" if output["write_access_checked"] else "; write access is not checked"))
    elif output["is_complete"]:
        yield Text(f"output {url}: has every row of the corpus; a run has nothing to do")
    else:
        yield Text(f"output {url}: has {output['shards_done']:,} of {shards}; a run computes the others")
    for note in output["notes"]:
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


def _summarize_languages(survey: LanguageSurvey) -> dict[str, Any]:
    return {
        "rows": survey.num_rows,
        "rows_dropped": survey.num_dropped,
        "values": survey.num_values,
        "shards_unreadable": survey.num_unreadable,
        "is_partial": survey.is_partial,
        "langs": [asdict(use) for use in survey.langs],
    }


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


def _describe_survey(survey: LanguageSurvey, num_rows: int) -> Iterator[Text]:
    if survey.num_dropped:
        dropped, rows = f"{survey.num_dropped:,}", format_count(num_rows, "row")
        if not survey.is_exact:
            yield Text(f"input.filter drops at least {dropped} of {rows}")
        elif survey.num_rows:
            yield Text(f"input.filter drops {dropped} of {rows}")
        else:
            yield Text(f"input.filter drops all {rows}", "red")
    if survey.is_partial:
        found = f"{format_count(survey.num_rows, 'row')} have {format_count(survey.num_values, 'different value')}"
        yield Text(f"the first {found}; input.lang is probably the wrong column", "red")
