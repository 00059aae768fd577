"""Find the processes of a run's local Ray, and kill the workers of its stages."""

import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

# The title of a Ray worker process while it computes a shard, by stage.
STAGE_TITLES = {
    "read": "ray::ReadCorpus",
    "tokenize": "ray::MapWorker(MapBatches(Tokenize)).submit",
    "infer": "ray::MapWorker(MapBatches(Infer)).submit",
    "write": "ray::MapBatches(Writer)",
}

_POLL_EVERY_S = 0.005  # some tasks of readers and writers take less than this; those of later shards are found


def find_processes(title: str, ancestor: int) -> list[int]:
    """Find the descendants of a process whose command line starts with a title, or whose program has that name."""
    return [pid for pid, line in _descendants(ancestor) if line.startswith(title) or _program(line) == title]


def kill_workers(run: subprocess.Popen[str], wanted: Mapping[str, int], gap_s: Callable[[], float]) -> Counter[str]:
    """Kill worker processes while they compute, until each stage has lost the wanted number or the run has ended.

    Args:
        run: the driver of a run with its own local Ray.
        wanted: how many workers to kill, by stage.
        gap_s: returns how long to wait after a kill.

    Returns:
        How many workers were killed, by stage.
    """
    killed: Counter[str] = Counter()
    while run.poll() is None and killed != Counter(wanted):
        for pid, line in list(_descendants(run.pid)):
            for stage, title in STAGE_TITLES.items():
                if line.startswith(title) and killed[stage] < wanted.get(stage, 0):
                    _kill(pid)
                    killed[stage] += 1
                    time.sleep(gap_s())
        time.sleep(_POLL_EVERY_S)
    return killed


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def _descendants(pid: int) -> Iterator[tuple[int, str]]:
    """Find the descendants of a process, and their command lines."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:  # the process has ended
        return
    for child in map(int, children):
        yield child, _command_line(child)
        yield from _descendants(child)


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""


def _program(command_line: str) -> str:
    return Path(command_line.partition(" ")[0]).name
