"""The memory and the processor time of this process and all its descendants, measured while they work."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_EVERY_S = 0.25
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class ProcessTree:
    """What this process and all its descendants have used since the measurement began.

    Attributes:
        driver_mb: the greatest memory of this process, in megabytes of 10^6 bytes. Pages of mapped files, such as
            libraries, do not count: they are shared with other programs, and need not stay in memory.
        all_mb: the greatest memory of all processes together. Memory that several of them share is counted once.
    """

    def __init__(self) -> None:
        self.driver_mb = self.all_mb = 0.0
        self._cpu_s: dict[int, float] = {}
        self._before_s = 0.0
        self.measure()
        self._before_s = self.cpu_s

    @property
    def cpu_s(self) -> float:
        """The processor time of all processes, also of those that have ended."""
        return sum(self._cpu_s.values()) - self._before_s

    def measure(self) -> None:
        sizes: dict[int, float] = {}
        for pid, cpu_s in _descendants().items():
            self._cpu_s[pid] = cpu_s
            with suppress(OSError):  # the process has ended
                sizes[pid] = _memory_mb(pid)
        self.driver_mb = max(self.driver_mb, sizes[os.getpid()])
        self.all_mb = max(self.all_mb, sum(sizes.values()))


@contextmanager
def measure_processes() -> Iterator[ProcessTree]:
    """Measure during a `with` block."""
    tree, ended = ProcessTree(), threading.Event()

    def measure() -> None:
        while not ended.wait(_EVERY_S):
            tree.measure()

    thread = threading.Thread(target=measure, daemon=True)
    thread.start()
    try:
        yield tree
    finally:
        ended.set()
        thread.join()
        tree.measure()


def _descendants() -> dict[int, float]:
    """Return the processor time of this process and of its descendants, by process id."""
    children: dict[int, list[int]] = {}
    cpu_s: dict[int, float] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError):  # the process has ended
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                pid = int(folder.name)
                children.setdefault(int(fields[1]), []).append(pid)
                cpu_s[pid] = (int(fields[11]) + int(fields[12])) / _TICKS_PER_S
    found = [os.getpid()]
    for pid in found:
        found += children.get(pid, [])
    return {pid: cpu_s[pid] for pid in found}


def _memory_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith(("Pss_Anon:", "Pss_Shmem:")))
