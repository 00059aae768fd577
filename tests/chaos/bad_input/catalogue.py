"""The catalogue of bad input: all kinds and their outcomes.

`python -m tests.chaos.bad_input.catalogue [FILE]` runs every kind and writes the table.
"""

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from jobs.demo.build import write_demo
from tests.chaos.bad_input.bad_checkpoints import CHECKPOINTS
from tests.chaos.bad_input.bad_corpora import CORPORA
from tests.chaos.bad_input.bad_job_files import SPECS
from tests.chaos.bad_input.bad_outputs import OUTPUTS
from tests.chaos.bad_input.bad_rows import CORPORA_OF_ROWS
from tests.chaos.bad_input.bench import Fails, Harmless, Refused
from tests.flow.heads import write_checkpoints

TABLE = Path(__file__).with_name("BAD_INPUT.md")

SECTIONS: dict[str, list[Refused | Harmless | Fails]] = {
    "Job files": [*SPECS],
    "Corpora": [*CORPORA],
    "Checkpoints": [*CHECKPOINTS],
    "Outputs": [*OUTPUTS],
}


def kind_names() -> Iterator[str]:
    """Name every kind there is."""
    for kinds in SECTIONS.values():
        yield from (kind.name for kind in kinds)
    for corpus in CORPORA_OF_ROWS:
        yield from (row.name for row in corpus.rows)


def tables(folder: Path) -> Iterator[str]:
    """Try every kind, and give the lines of the table.

    Args:
        folder: an empty one, for all that it takes.
    """
    demo, heads = write_demo(folder / "demo").parent, folder / "heads"
    write_checkpoints(demo, heads)
    yield "# Bad input, and what it got"
    yield ""
    yield (
        f"{len(list(kind_names()))} kinds. A job that cannot work ends with exit status 2 and these lines, before Ray "
        "starts and with nothing written."
    )
    yield "A row that cannot be served is rejected with a reason and a detail; no other row is touched."
    for title, kinds in SECTIONS.items():
        yield from _head(title)
        for i, kind in enumerate(kinds):
            yield _row(kind.name, kind.attempt(folder / f"{title}-{i}".replace(" ", "-"), demo))
    for i, corpus in enumerate(CORPORA_OF_ROWS):
        yield from _head(f"Rows: {corpus.name}")
        rejected = corpus.attempt(folder / f"rows-{i}", demo, heads).rejected
        for row in corpus.rows:
            reason, detail = rejected.get(row.name, (None, ""))
            yield _row(row.name, f"rejected, `{reason}`: {detail}" if reason else "a result like any other")


def _head(title: str) -> Iterator[str]:
    yield from ("", f"## {title}", "", "| kind | what it got |", "|---|---|")


def _row(name: str, got: str) -> str:
    return f"| {escaped(name)} | {escaped(got)} |"


def escaped(text: str) -> str:
    """Write a text so that it stands in a cell as it is."""
    printable = "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)
    return printable.replace("|", "\\|").replace("<", "&lt;")


def main() -> None:
    """Write the table to the file that is named, or to where it is kept."""
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else TABLE
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XLM_CACHE"] = f"{folder}/cache"
        lines = list(tables(Path(folder)))
    target.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{target}: {len(list(kind_names()))} kinds")


if __name__ == "__main__":
    main()
