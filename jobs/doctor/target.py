"""Try what a job or a checkpoint needs: its languages, its model, its stores."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from jobs.doctor.finding import Finding, find_out
from pipelines.checkpoints import local_checkpoint, pin_checkpoint, read_tokenizer, url_in_errors
from pipelines.corpus import read_some_rows
from pipelines.errors import FatalError
from pipelines.formatting import format_count
from pipelines.job import DetectedLang, FixedLang, TokenizerSettings
from pipelines.run import pin_detection
from pipelines.storage import locate
from xlm_core.checkpoint import inspect_checkpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pipelines.job import Job
    from xlm_core import XLMTokenizer


def try_job(job: Job, notify: Callable[[str], None]) -> Iterator[Finding]:
    """Try the input, the checkpoint and its languages, and the output of a job. Nothing is written.

    Args:
        job: the job.
        notify: receives a message before a download.
    """
    paths = [job.input.path] if isinstance(job.input.path, str) else job.input.path
    for path in paths:
        attempt = partial(_read_input, path, job)
        yield find_out("job", "input", attempt, needed=True)
    only = job.input.lang.fixed if isinstance(job.input.lang, FixedLang) else None
    yield from try_checkpoint(job.model.checkpoint, notify, job.tokenizer, only)
    if isinstance(job.input.lang, DetectedLang):
        yield find_out("job", "input.lang", partial(_read_identifier, job.input.lang, job, notify), needed=True)
    yield find_out("job", "output", partial(_reach_output, job), needed=True)


def try_checkpoint(
    url: str, notify: Callable[[str], None], settings: TokenizerSettings | None = None, only_lang: str | None = None
) -> Iterator[Finding]:
    """Try to read a checkpoint, and its languages.

    Args:
        url: its directory or URL.
        notify: receives a message before a download.
        settings: of the tokenizer.
        only_lang: the language of all rows, which must work.
    """
    tokenizer: XLMTokenizer | None = None

    def read() -> str:
        nonlocal tokenizer
        folder = local_checkpoint(pin_checkpoint(url, notify=notify))
        with url_in_errors(url, folder):
            contents = inspect_checkpoint(folder)
            tokenizer = read_tokenizer(settings or TokenizerSettings(), folder)
        layers, heads = format_count(contents.config.n_layers, "layer"), ", ".join(contents.heads) or "none"
        return f"{url}: {layers}, heads: {heads}"

    yield find_out("job", "checkpoint", read, needed=True)
    if tokenizer is not None:
        yield from _try_langs(tokenizer, only_lang)


def _try_langs(tokenizer: XLMTokenizer, only: str | None) -> Iterator[Finding]:
    """Build the segmenter of each language: one finding for those that work, and one for each that does not."""
    only_code = None if only is None else tokenizer.resolve_lang(only)
    if only is not None and only_code is None:
        step = "correct input.lang"
        yield Finding("job", "languages", "fails", f"{only} is not in the checkpoint's lang2id", step, needed=True)
        return
    langs = [only_code] if only_code else sorted(tokenizer.lang2id)
    failed: list[Finding] = []
    for lang in langs:
        try:
            tokenizer.segmenters.prepare(lang)
        except FatalError as error:
            problem, _, step = str(error).partition("; ")
            failed.append(Finding("job", f"language {lang}", "fails", problem, step, needed=only is not None))
    usable = [lang for lang in langs if f"language {lang}" not in {finding.name for finding in failed}]
    if usable:
        yield Finding("job", "languages", "works", f"{len(usable)} of {len(langs)}: {', '.join(usable)}")
    yield from failed


def _read_input(path: str, job: Job) -> str:
    rows = read_some_rows(path, 1, job.storage)
    return f"{path}: read a row of {format_count(rows.num_columns, 'column')}"


def _read_identifier(lang: DetectedLang, job: Job, notify: Callable[[str], None]) -> str:
    return f"{lang.detect}: identifies {', '.join(pin_detection(lang, job.storage, notify).langs)}"


def _reach_output(job: Job) -> str:
    location = locate(job.output.path, job.storage)
    found = "exists" if location.exists() else "does not exist yet"
    return f"{location.url}: {found}; write access is not tested"
