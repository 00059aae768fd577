"""The commands of `xlm`, in one folder per subject.

The module `cli.py` of a folder defines its commands with Click. It imports the modules that do the work when a command
is called, so that each command starts quickly.
"""

from jobs.commands.checkpoint import convert_command, inspect_command, tokenize_command
from jobs.commands.cluster import submit_command
from jobs.commands.command import log_options
from jobs.commands.evaluation import calibrate_command, eval_command
from jobs.commands.job import (
    check_command,
    init_command,
    plan_command,
    run_command,
    schema_command,
    train_command,
    try_command,
)
from jobs.commands.output import diff_command, gc_command, show_command, status_command, verify_command
from jobs.commands.setup import completion_command, demo_command, doctor_command, spec_command

# In the order of `xlm --help`, by section.
COMMANDS = {
    "First steps": [demo_command, init_command, spec_command, doctor_command, completion_command],
    "Jobs": [try_command, check_command, plan_command, run_command, train_command, schema_command],
    "Clusters": [submit_command],
    "Outputs": [status_command, show_command, verify_command, diff_command, gc_command],
    "Evaluation": [eval_command, calibrate_command],
    "Checkpoints": [inspect_command, tokenize_command, convert_command],
}

__all__ = [
    "COMMANDS",
    "log_options",
]
