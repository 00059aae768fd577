"""What was found out about one part, and the command that installs what is missing."""

from __future__ import annotations

import importlib.metadata
import platform
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pipelines.errors import FatalError
from pipelines.storage import describe_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

PACKAGE = "xlm-batch"
_EXTRA = re.compile(rf"pip install '{PACKAGE}\[([a-z,-]+)\]'")


@dataclass(frozen=True)
class Finding:
    """Whether a part works on this machine.

    Attributes:
        section: the kind of part, such as `segmenters`.
        name: the part, such as `jieba`.
        status: `works`; `missing`: not installed, or not in this machine; `fails`: installed, but does not work.
        detail: its version and result, or why it does not work.
        next_step: what to do if it does not work, in most cases a command; empty if there is nothing to do.
        needed: whether every job needs it, or the given job or checkpoint.
    """

    section: str
    name: str
    status: Literal["works", "missing", "fails"]
    detail: str
    next_step: str = ""
    needed: bool = False


def find_out(
    section: str,
    name: str,
    attempt: Callable[[], str],
    *,
    extra: str | None = None,
    advice: str = "",
    needed: bool = False,
) -> Finding:
    """Try a part of the machine.

    Args:
        section, name: of the finding.
        attempt: uses the part, and returns a detail; raises if it does not work.
        extra: the optional dependency of this package that installs it; None for required dependencies.
        advice: what to do if it is installed and does not work.
        needed: of the finding.
    """
    try:
        return Finding(section, name, "works", attempt(), needed=needed)
    except ModuleNotFoundError as error:
        return Finding(section, name, "missing", f"{error.name} is not installed", install_command(extra), needed)
    except FatalError as error:  # ends with the next step
        problem, _, next_step = str(error).partition("; ")
        return Finding(section, name, "fails", problem, advice or next_step, needed)
    except Exception as error:  # of any class, from the library
        return Finding(section, name, "fails", describe_error(error), advice, needed)


def install_command(extra: str | None = None) -> str:
    """Return the command that installs this package's dependencies, or those of an extra."""
    return f"pip install '{PACKAGE}[{extra}]'" if extra else f"pip install {PACKAGE}"


def install_all(findings: Iterable[Finding]) -> str | None:
    """Return one command that installs all extras that are missing; None if there is none."""
    found = {extra for finding in findings for extra in _EXTRA.findall(finding.next_step)}
    return install_command(",".join(sorted(found))) if found else None


def describe_versions() -> dict[str, str]:
    """Return the versions that a report of a problem should name."""
    packages = (PACKAGE, "ray", "torch", "pyarrow", "numpy")
    versions = {name: package_version(name) for name in packages}
    return versions | {"python": platform.python_version(), "platform": platform.platform()}


def package_version(name: str) -> str:
    """Return the version of an installed package; `absent` if it is not installed."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "absent"
