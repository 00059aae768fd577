"""Runs on object stores in other processes, which can be suspended and killed between two requests."""

import io
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import wait as wait_for
from multiprocessing.process import BaseProcess
from typing import Any

import pytest
from rich.console import Console

from pipelines.errors import FatalError, RetryableError
from pipelines.job.job import Job
from pipelines.run.execute import run
from tests import forks
from tests.flow.in_process import without_ray

RUN_TIMEOUT_S = 300.0


@dataclass(frozen=True)
class Driver:
    """A run in another process."""

    process: BaseProcess
    receiving: Any

    def kill(self) -> None:
        """Kill the process, and wait until it has ended."""
        os.kill(self._pid, signal.SIGKILL)
        wait_for([self.process.sentinel])

    def suspend(self) -> None:
        """Suspend the process until `resume`, as on a machine that is suspended."""
        os.kill(self._pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self._pid, signal.SIGCONT)

    def wait(self, timeout_s: float = RUN_TIMEOUT_S) -> str | None:
        """Wait for the end of the run, and return its outcome.

        Returns:
            The report's status, or the type and message of the error; None if the process was killed.
        """
        try:
            if not self.receiving.poll(timeout_s):
                self.kill()
                raise AssertionError(f"the run did not end within {timeout_s:g} s")
            return self.receiving.recv()
        except EOFError:
            return None
        finally:
            forks.join(self.process)

    @property
    def _pid(self) -> int:
        assert self.process.pid is not None
        return self.process.pid


def start_driver(job: Job, environment: Mapping[str, str], constants: Mapping[str, Any]) -> Driver:
    """Start a run in another process, with its stages in the same process instead of Ray.

    Args:
        job: the job to run.
        environment: additional environment variables.
        constants: new values of the product's constants, by dotted name.
    """
    return Driver(*forks.start(_run, job, dict(environment), dict(constants)))


def _run(job: Job, environment: dict[str, str], constants: dict[str, Any]) -> str:
    os.environ.update(environment)
    with pytest.MonkeyPatch.context() as patch:
        without_ray(patch)
        for name, value in constants.items():
            patch.setattr(name, value)
        try:
            return run(job, Console(file=io.StringIO()))["status"]
        except (FatalError, RetryableError) as error:
            return f"{type(error).__name__}: {error}"
