"""Find the processes that a test started, also those whose parents have ended."""

from pathlib import Path

MARKER = "XLM_TEST_RUN"  # an environment variable, which child processes inherit


def find_processes(value: str) -> list[int]:
    """Find all living processes in whose environment `MARKER` has this value."""
    marker = f"{MARKER}={value}".encode()
    return [int(path.name) for path in Path("/proc").glob("[0-9]*") if marker in _environment_of(path)]


def _environment_of(process: Path) -> list[bytes]:
    try:
        return (process / "environ").read_bytes().split(b"\0")
    except OSError:
        return []
