"""The catalogue of bad input: all kinds and their outcomes.

`python -m tests.chaos.bad_input.catalogue [FILE]` runs every kind and writes the table.
"""

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.chaos.bad_input.bad_checkpoints import CHECKPOINTS
from tests.chaos.bad_input.bad_corpora import CORPORA
from tests.chaos.bad_input.bad_job_files import JOB_FILES
from tests.chaos.bad_input.bad_outputs import OUTPUTS
from tests.chaos.bad_input.bad_rows import ROW_CASES
from tests.chaos.bad_input.outcomes import FailsShard, Harmless, Refused
from tests.flow.heads import write_checkpoints
from tests.small_job import write_small_job

TABLE = Path(__file__).with_name("BAD_INPUT.md")

SECTIONS: dict[str, list[Refused | Harmless | FailsShard]] = {
    "Job files": [*JOB_FILES],
    "Corpora": [*CORPORA],
    "Checkpoints": [*CHECKPOINTS],
    "Outputs": [*OUTPUTS],
}


def kind_names() -> Iterator[str]:
    """Yield the name of every kind of bad input."""
    for kinds in SECTIONS.values():
        yield from (kind.name for kind in kinds)
    for cases in ROW_CASES:
        yield from (row.name for row in cases.rows)


def build_table(folder: Path) -> Iterator[str]:
    """Run every kind, and yield the lines of the table.

    Args:
        folder: an empty directory for the jobs.
    """
    demo, heads = write_small_job(folder / "demo").parent, folder / "heads"
    write_checkpoints(demo, heads)
    yield "# Bad input and its outcomes"
    yield ""
    yield (
        f"{len(list(kind_names()))} kinds. A job that cannot work ends with exit status 2 and the lines below, before "
        "Ray starts, and writes nothing."
    )
    yield "A row that cannot be processed is rejected with a reason and a detail. No other row is affected."
    for title, kinds in SECTIONS.items():
        yield from _section(title)
        for i, kind in enumerate(kinds):
            yield _line(kind.name, kind.check(folder / f"{title}-{i}".replace(" ", "-"), demo))
    for i, cases in enumerate(ROW_CASES):
        yield from _section(f"Rows: {cases.name}")
        rejected = cases.run(folder / f"rows-{i}", demo, heads).rejected
        for row in cases.rows:
            reason, detail = rejected.get(row.name, (None, ""))
            yield _line(row.name, f"rejected, `{reason}`: {detail}" if reason else "processed like any other row")


def _section(title: str) -> Iterator[str]:
    yield from ("", f"## {title}", "", "| kind | outcome |", "|---|---|")


def _line(name: str, outcome: str) -> str:
    return f"| {escape_cell(name)} | {escape_cell(outcome)} |"


def escape_cell(text: str) -> str:
    """Escape a text for a cell of a Markdown table."""
    printable = "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)
    return printable.replace("|", "\\|").replace("<", "&lt;")


def main() -> None:
    """Write the table to the file given on the command line, or to its place in the tree."""
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else TABLE
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XLM_CACHE"] = f"{folder}/cache"
        lines = list(build_table(Path(folder)))
    target.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{target}: {len(list(kind_names()))} kinds")


if __name__ == "__main__":
    main()
