"""The exit status of `xlm`."""

from enum import IntEnum


class ExitStatus(IntEnum):
    """Exit statuses of all commands."""

    COMPLETE = 0
    FAILED = 1  # an unexpected error, or Ray or the storage failed
    INVALID = 2  # a wrong argument, job file, corpus or checkpoint
    INCOMPLETE = 3  # more failed shards or rejected rows than the job's policy allows, or an output is not verified
    DIFFERENT = 4  # the outputs that `xlm diff` compares differ by more than --fail-on allows
    LOCKED = 5  # a run is writing to the output; `xlm status` shows it, other commands changed nothing
    INTERRUPTED = 130
