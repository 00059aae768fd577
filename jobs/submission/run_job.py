"""The program that a submitted job runs on the cluster: it checks Python and the packages, then runs the job.

It is copied to the top of what is shipped. It must start in any Python 3 without any package, to name what is missing.
"""

from __future__ import annotations

import re
import runpy
import sys

_IMAGE = "start the cluster with the image of infra/docker"


def find_problem() -> str | None:
    """Return why this Python cannot run the project; None if it can."""
    from importlib import metadata

    project = metadata.metadata("xlm-batch")
    least = tuple(int(number) for number in re.findall(r"\d+", project["Requires-Python"]))
    if sys.version_info < least:
        expected, found = ".".join(map(str, least)), "%d.%d.%d" % sys.version_info[:3]  # noqa: UP031 - any Python 3
        return f"the head's {sys.executable} is Python {found}, expected {expected} or later; {_IMAGE}"
    wrong = [text for text in map(check_requirement, metadata.requires("xlm-batch") or []) if text]
    return f"the head needs the packages {', '.join(wrong)}; {_IMAGE}, or add --pip to xlm submit" if wrong else None


def check_requirement(line: str) -> str | None:
    """Return the package of a requirement, with its version if that is not suitable; None if it is."""
    from importlib import metadata

    if "extra ==" in line:  # an optional package
        return None
    name = re.split(r"[^\w.-]", line, maxsplit=1)[0]
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        return name
    from packaging.requirements import Requirement  # installed with Ray, so the other checks come first

    specifier = Requirement(line).specifier
    return None if specifier.contains(version, prereleases=True) else f"{name}{specifier} (it has {version})"


def main(arguments: list[str]) -> None:
    """Run a command of xlm, such as `run job.yaml`. The process exits with its status."""
    problem = find_problem()
    if problem:
        sys.stderr.write(f"xlm: {problem}\n")
        sys.exit(2)
    sys.argv = ["xlm", *arguments]
    runpy.run_module("jobs.cli", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(sys.argv[1:])
