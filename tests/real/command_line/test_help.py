"""The help of every command: examples that can be typed as printed, sections, suggestions, completion."""

import os
import re
import shlex
import subprocess
import sys

import click
import pytest

from jobs.commands import COMMANDS

ALL = [command for commands in COMMANDS.values() for command in commands]


@pytest.mark.parametrize("command", ALL, ids=lambda command: command.name)
def test_examples_of_the_help_have_valid_options(command, xlm):
    ended = xlm(command.name, "--help")
    assert (ended.status, ended.err) == (0, "")
    _, _, examples = ended.out.partition("Examples:\n")
    assert examples
    for line in examples.splitlines():
        words = shlex.split(re.split("[>|]", line)[0], comments=True)
        if words[0] == "eval":
            words = shlex.split(words[1][2:-1])
        assert words[:2] == ["xlm", command.name]
        with click.Context(command, info_name=command.name) as ctx:
            command.parse_args(ctx, words[2:])


def test_every_option_and_command_has_help():
    for command in ALL:
        assert command.help
        assert command.get_short_help_str(200).endswith(".")
        options = [param for param in command.params if isinstance(param, click.Option)]
        assert [option.name for option in options if not option.help] == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rum"], "no such command 'rum'; did you mean 'run'?"),
        (["run", "job.yaml", "--sett", "a=b"], "no such option '--sett'; did you mean '--set'?"),
        (["run"], "missing argument 'JOB'; xlm run --help shows the usage"),
        (["show", "out", "--limit", "many"], "invalid value for '--limit': "),
    ],
)
def test_invalid_command_line_is_one_line_with_the_next_step(arguments, message, xlm):
    ended = xlm(*arguments)
    assert (ended.status, ended.out) == (2, "")
    assert ended.err.startswith(f"xlm: {message}")
    assert ended.err.count("\n") == 1


def test_bash_completes_commands_and_options():
    program = "import sys; from jobs.cli import main; sys.argv = ['xlm']; main()"

    def complete(words: str, position: int) -> list[str]:
        env = os.environ | {"_XLM_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(position)}
        ended = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=False)
        return [line.partition(",")[2] for line in ended.stdout.splitlines()]

    assert complete("xlm ver", 1) == ["verify"]
    assert complete("xlm run job.yaml --retry", 3) == ["--retry-rejected"]
