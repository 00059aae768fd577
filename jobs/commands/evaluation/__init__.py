"""Commands that use gold labels."""

from jobs.commands.evaluation.cli import eval_command

__all__ = ["eval_command"]
