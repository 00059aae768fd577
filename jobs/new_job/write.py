"""Write a commented job file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobs.job_file import format_value
from jobs.new_job.propose import shown
from pipelines.formatting import format_count, one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobs.new_job.propose import Proposal

_COMMENT_COLUMN = 40
_SETTINGS = {
    "feature-extraction": "{pooling: mean, normalize: true}   # or first, last, max",
    "text-classification": "{}",
    "token-classification": "{pieces: mean}   # aggregate: entity joins words of labels such as B-PER and I-PER",
}


def format_job(
    found: Proposal, name: str, text: str, lang: str | None, fixed_lang: str | None, row_id: str | None, output: str
) -> str:
    """Format a job as YAML with comments.

    Args:
        found: what the corpus and the checkpoint have.
        name: the job's name.
        text: the text column.
        lang: the language column; None if there is none.
        fixed_lang: the language of all rows. If this is None as well, the language of each row is detected.
        row_id: the id column; None if rows are identified by file and number.
        output: the output directory.
    """
    langs = found.codes.get(lang, []) if lang else []
    sample = f"in {format_count(found.num_rows, 'row')} of the corpus"
    others = [column for column in found.texts if column != text]
    lines = [
        ("# Written by xlm init. jobs/README.md describes all settings; xlm check checks this file.", ""),
        (f"name: {format_value(name)}", ""),
        ("input:", ""),
        (f"  path: {format_value(found.path)}", ""),
        (f"  id: {format_value(row_id)}", f"unique {sample}")
        if row_id
        else ("  # id: COLUMN", "a column of unique ids; without one, results have file and row"),
        (f"  text: {format_value(text)}", f"other columns with text: {shown(others)}" if others else ""),
        (f"  lang: {format_value(lang)}", f"{sample}: {shown(langs)}; xlm check counts all rows" if langs else "")
        if lang
        else (f"  lang: {{fixed: {format_value(fixed_lang)}}}", "all rows")
        if fixed_lang
        else ("  lang: detect", "the language of each row is found, see detected_lang in the output"),
        (f"  keep: {format_value([lang] if lang and lang != row_id else [])}", "columns to copy to the output"),
        ("model:", ""),
        (f"  checkpoint: {format_value(found.checkpoint)}", ""),
        ("tasks:", "all tasks share one forward pass of the model"),
        *((f"  - {task}: {_SETTINGS[task]}", "") for task in found.tasks),
        *(
            (f"  # The checkpoint also has a head for {head}; xlm spec prints a job for it.", "")
            for head in found.other_heads
        ),
        ("tokenizer:", ""),
        ("  on_overflow: truncate", "of long texts; window reads all of a text in overlapping windows"),
        *_segmenters(langs or [fixed_lang or "ja"]),  # Japanese may be detected
        ("output:", ""),
        (f"  path: {format_value(output)}", ""),
        ("policy:", ""),
        ("  max_rejected: 0.01", "share of rows that may be rejected: null texts, unknown languages …"),
    ]
    return "".join(f"{_align(line, one_line(comment))}\n" for line, comment in lines)


def _segmenters(langs: Sequence[str]) -> list[tuple[str, str]]:
    """Name the segmenter of Japanese, whose default needs a model file."""
    if "ja" not in {lang.lower()[:2] for lang in langs}:
        return []
    return [("  ja: fugashi", "segments Japanese; kytea, as in the released checkpoints, needs a model file")]


def _align(line: str, comment: str) -> str:
    if not comment:
        return line
    return f"{line:{_COMMENT_COLUMN}}# {comment}" if len(line) < _COMMENT_COLUMN else f"{line}   # {comment}"
