"""`xlm init`: write a job file for a corpus and a checkpoint."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from jobs.job_file import load_job
from jobs.new_job import format_job, propose_job
from pipelines.errors import FatalError
from pipelines.formatting import closest_name, one_line
from pipelines.run import check_fixed_lang

if TYPE_CHECKING:
    from rich.console import Console

    from jobs.new_job import Proposal

_FIXED, _DETECT = "fixed:", "detect"


@dataclass(frozen=True)
class Choices:
    """What the command line says about the job; None for what it does not say."""

    checkpoint: str
    text: str | None
    lang: str | None
    row_id: str | None
    output: str | None


def init_job(path: str, choices: Choices, file: Path, console: Console, *, ask: bool, force: bool) -> None:
    """Write a job file.

    Args:
        path: the input.
        choices: from the command line.
        file: the job file.
        console: where to print.
        ask: whether to ask for what is missing in `choices`, with the value found as default.
        force: whether an existing file is replaced.

    Raises:
        FatalError: the corpus or the checkpoint cannot be read, a column does not exist, or the file exists.
    """
    if file.exists() and not force:
        raise FatalError(f"{file}: exists; name another file with --file, or replace it with --force")
    found = propose_job(path, choices.checkpoint, lambda line: console.print(line, highlight=False, markup=False))
    text = _choose("text", choices.text, next(iter(found.texts), None), found, ask)
    if text is None:
        raise FatalError(f"{path}: no column contains text; it has {', '.join(map(one_line, found.columns))}")
    lang = _choose_lang(choices.lang, found, ask)
    row_id = _choose("id", choices.row_id, next(iter(found.ids), None), found, ask)
    name = re.sub(r"[^\w.-]+", "-", Path(path.rstrip("/")).stem).strip("-.") or "job"
    output = choices.output or f"{name}-out"
    if ask and choices.output is None:
        output = click.prompt("Directory of the output", default=output)
    fixed = lang.removeprefix(_FIXED) if lang.startswith(_FIXED) else None
    column = None if fixed or lang == _DETECT else lang
    job = format_job(found, name, text, column, fixed, row_id, output)
    file.write_text(job, encoding="utf-8")
    load_job(file)
    console.print(f"{file}: written; it reads the column {one_line(text)}", highlight=False, markup=False)
    for line in (f"xlm try {file}", f"xlm check {file}", f"xlm run {file}"):
        console.print(f"    {line}", highlight=False, markup=False)


def _choose(role: str, given: str | None, default: str | None, found: Proposal, ask: bool) -> str | None:
    if given is not None:
        return _check(role, given, found)
    if not ask:
        return default
    question = {"text": "Column with the text", "id": "Column with unique ids (- for none)"}[role]
    while True:
        answer: str = click.prompt(question, default=default or "-")
        if answer == "-":
            return None
        try:
            return _check(role, answer, found)
        except FatalError as error:
            click.echo(f"  {error}")


def _choose_lang(given: str | None, found: Proposal, ask: bool) -> str:
    """Return a column, `fixed:` and a language code, or `detect`."""
    default = next(iter(found.langs), None)
    if given is None and not ask and default is None:
        raise FatalError(
            f"{found.path}: no column contains language codes of the checkpoint; add --lang COLUMN, --lang fixed:de if "
            "all rows are in one language, or --lang detect to find the language of each row"
        )
    if given is None and not ask:
        return str(default)
    while True:
        answer: str = given or click.prompt(
            "Column with the language of each row, fixed:CODE or detect", default=default or _DETECT
        )
        try:
            return _check_lang(answer, found)
        except FatalError as error:
            if given is not None:
                raise
            click.echo(f"  {error}")


def _check_lang(lang: str, found: Proposal) -> str:
    if lang.startswith(_FIXED):
        check_fixed_lang(lang.removeprefix(_FIXED), found.tokenizer, reject_unknown=True, needs_segmenter=False)
        return lang
    if lang == _DETECT and lang not in found.columns:
        return lang
    is_code = found.tokenizer.lang2id and found.tokenizer.resolve_lang(lang)
    if is_code and lang not in found.columns:
        raise FatalError(
            f"--lang: {found.path} has no column {lang}; if it is the language of all rows, write {_FIXED}{lang}"
        )
    return _check("lang", lang, found)


def _check(role: str, column: str, found: Proposal) -> str:
    if column in found.columns:
        return column
    similar = closest_name(column, found.columns)
    hint = f"did you mean {similar}?" if similar else f"it has {', '.join(map(one_line, found.columns))}"
    raise FatalError(f"--{role}: {found.path} has no column {one_line(column)}; {hint}")
