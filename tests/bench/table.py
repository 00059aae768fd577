"""The table of benchmarks: its rows, and the file that keeps them. It needs nothing besides torch."""

import os
import platform
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

RESULTS = Path(__file__).parent / "RESULTS.md"
UNMEASURED = "unmeasured"


class Row(NamedTuple):
    """One figure of a benchmark.

    Attributes:
        what: what is compared with what, such as "forward, float32, 6 x 512, 2 threads: padded batches in input order".
        figure: a ratio of two times that were measured side by side in one run, such as "6.0 x", or `UNMEASURED`.
        goal: such as "6 x"; empty if there is none.
    """

    what: str
    figure: str
    goal: str = ""


def format_rows(rows: Sequence[Row]) -> str:
    """Return a table in Markdown."""
    lines = ["| what | figure | goal |", "|---|--:|--:|"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def describe_machine() -> str:
    """Return the processor, its vector instructions, its number of cores, and the GPU if there is one."""
    import torch

    info = Path("/proc/cpuinfo")
    names = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
    processor = names[0] if names else platform.processor() or platform.machine()
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return f"{processor}, {torch.backends.cpu.get_cpu_capability()}, {os.cpu_count()} cores{gpu}"


def keep_rows(name: str, rows: Sequence[Row], texts: str, order: Iterable[str], path: Path = RESULTS) -> None:
    """Replace the section of one benchmark in the file of results. Other sections, and text after them, are kept.

    Args:
        name: of the benchmark, the title of its section.
        rows: what it measured.
        texts: what the texts are, such as "ud_pos, tatoeba, xquad".
        order: the names of all benchmarks, in the order of their sections.
        path: the file.
    """
    heading = f"{time.strftime('%Y-%m-%d')}, {describe_machine()}; {texts}"
    before, *sections = path.read_text(encoding="utf-8").split("\n## ")
    parts = dict(section.split("\n", 1) for section in sections)
    parts[name] = f"\n{heading}\n\n{format_rows(rows)}\n"
    known = [title for title in order if title in parts]
    titles = [*known, *(title for title in parts if title not in known)]
    text = "\n## ".join([before.rstrip("\n") + "\n", *(f"{title}\n{parts[title]}" for title in titles)])
    path.write_text(text, encoding="utf-8")
