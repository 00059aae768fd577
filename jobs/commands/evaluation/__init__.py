"""Commands that use gold labels."""

from jobs.commands.evaluation.cli import calibrate_command, eval_command

__all__ = ["calibrate_command", "eval_command"]
