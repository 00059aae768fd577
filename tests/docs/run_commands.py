"""Run the commands of a document in this process, which is much faster than a new process for each."""

import contextlib
import io
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import click

from jobs import cli
from jobs.commands import COMMANDS
from tests.docs.markdown import ROOT

BY_NAME = {command.name: command for section in COMMANDS.values() for command in section}


def shell_environment() -> dict[str, str]:
    """Return an environment in which `xlm` and `python` are those of this project, as after `source activate`."""
    folder = str(Path(sys.executable).parent)
    return os.environ | {"PATH": f"{folder}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}


def run_in_shell(code: str) -> None:
    """Run lines in bash, which stops at the first one that fails."""
    ended = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", code],
        env=shell_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert ended.returncode == 0, f"{code}\n{ended.stdout}"


def run_command(command: str) -> None:
    """Run one command. `xlm` runs in this process, and everything else in a shell."""
    words = shlex.split(command, comments=True)
    if words[0] != "xlm" or any(word in ("|", "&&", "<") for word in words):
        run_in_shell(command)
        return
    printed = io.StringIO()
    handler = signal.getsignal(signal.SIGTERM)
    words, target = (words[:-2], words[-1]) if ">" in words else (words, None)
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        status = cli.main(words[1:])
    signal.signal(signal.SIGTERM, handler)
    assert status == 0, f"{command}\n{printed.getvalue()}"
    if target:
        Path(target).write_text(printed.getvalue(), encoding="utf-8")


def check_arguments(command: str) -> None:
    """Check that the command line accepts the arguments of an `xlm` command, without running it."""
    words = shlex.split(command, comments=True)
    if words[0] != "xlm":
        return
    end = next((i for i, word in enumerate(words) if word in ("|", ">", "&&")), len(words))
    _, name, *arguments = words[:end]
    try:
        BY_NAME[name].make_context(name, arguments)
    except click.exceptions.Exit:  # --help
        pass


def unknown_options(command: str) -> list[str]:
    """Return the options of a command in prose that the command line does not have; its arguments may be left out."""
    _, name, *words = shlex.split(command)
    if name.startswith("-"):
        return []
    if name not in BY_NAME:
        return [name]
    known = {option for parameter in BY_NAME[name].params for option in parameter.opts} | {"--help"}
    return [word for word in words if word.startswith("--") and word.partition("=")[0] not in known]
