"""`xlm doctor`: print what works on this machine, and how to install the rest."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from jobs.console import print_json
from jobs.doctor import describe_versions, examine, install_all
from jobs.exit_status import ExitStatus
from jobs.job_file import load_job
from pipelines.formatting import format_count, one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from jobs.doctor import Finding

_PLAIN_WIDTH = 500  # characters of a line in a file or pipe, where lines are not wrapped
_MARKS = {"works": ("✓", "green"), "missing": ("–", "dim"), "fails": ("✗", "red")}


def run_doctor(target: str | None, console: Console, *, as_json: bool) -> ExitStatus:
    """Try what works, and print it.

    Args:
        target: a job file, or a checkpoint's directory or URL; None for this machine alone.
        console: where to print.
        as_json: print JSON instead of text.

    Returns:
        COMPLETE, or INVALID if something does not work that every job needs, or the target.

    Raises:
        FatalError: the job file is not valid.
    """
    is_job = target is not None and (target.endswith((".yaml", ".yml")) or Path(target).is_file())
    job = load_job(target) if target is not None and is_job else None
    findings: list[Finding] = []
    with console.status("") as status:
        for finding in examine(job, None if is_job else target, lambda line: console.print(line, markup=False)):
            status.update(f"{finding.section}: {one_line(finding.name)}")
            findings.append(finding)
    failed = [finding for finding in findings if finding.needed and finding.status != "works"]
    if as_json:
        versions, command = describe_versions(), install_all(findings)
        print_json(
            {
                "works": not failed,
                "versions": versions,
                "findings": [asdict(finding) for finding in findings],
                "install": command,
            }
        )
    else:
        _print_findings(findings, failed, console)
    return ExitStatus.INVALID if failed else ExitStatus.COMPLETE


def _print_findings(findings: Sequence[Finding], failed: Sequence[Finding], console: Console) -> None:
    if not console.is_terminal:
        console.width = max(console.width, _PLAIN_WIDTH)
    versions = ", ".join(f"{name} {version}" for name, version in describe_versions().items())
    console.print(versions, highlight=False, markup=False)
    for section in dict.fromkeys(finding.section for finding in findings):
        table = Table.grid(padding=(0, 2))
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for finding in (finding for finding in findings if finding.section == section):
            mark, style = _MARKS["fails" if finding in failed else finding.status]
            table.add_row(Text(mark, style), Text(one_line(finding.name), "cyan"), _describe(finding))
        console.print()
        console.print(Text(section, "bold"))
        console.print(table)
    console.print()
    if command := install_all(findings):
        console.print(f"all optional packages that are missing: {command}", highlight=False, markup=False)
    if failed:
        names = ", ".join(f"{finding.section} {one_line(finding.name)}" for finding in failed)
        console.print(Text(f"does not work, but is needed: {names}", "bold red"), soft_wrap=True)
    else:
        num = format_count(sum(finding.status == "works" for finding in findings), "part")
        console.print(Text(f"all that is needed works; {num} of {len(findings)} in total", "bold"), soft_wrap=True)


def _describe(finding: Finding) -> Text:
    text = Text(one_line(finding.detail))
    return text + Text(f"; {one_line(finding.next_step)}", "yellow") if finding.next_step else text
