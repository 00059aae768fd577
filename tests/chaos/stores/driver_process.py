"""Runs on object stores in processes of their own, which can be suspended and killed between requests."""

import io
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from typing import Any

import pytest
from rich.console import Console

from pipelines.errors import FatalError, RetryableError
from pipelines.job.job import Job
from pipelines.run.execute import run
from tests import forks
from tests.flow.in_process import without_ray

ENDS_WITHIN_S = 120.0


@dataclass(frozen=True)
class Driver:
    """A run that goes on by itself."""

    process: BaseProcess
    receiving: Any

    def kill(self) -> None:
        """End it by SIGKILL; once this returns, it does nothing any more."""
        os.kill(self._pid, signal.SIGKILL)
        wait([self.process.sentinel])

    def suspend(self) -> None:
        """Let it do nothing until `resume`, as on a machine that is suspended."""
        os.kill(self._pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self._pid, signal.SIGCONT)

    def ending(self, within_s: float = ENDS_WITHIN_S) -> str | None:
        """Wait for its end: the report's status, or the error's name and text; None if it was killed."""
        try:
            if not self.receiving.poll(within_s):
                self.kill()
                raise AssertionError(f"the run did not end within {within_s:g} s")
            return self.receiving.recv()
        except EOFError:
            return None
        finally:
            forks.join(self.process)

    @property
    def _pid(self) -> int:
        assert self.process.pid is not None
        return self.process.pid


def start_driver(job: Job, environment: Mapping[str, str], settings: Mapping[str, Any]) -> Driver:
    """Begin a run, its stages one after the other in one process in place of Ray.

    Args:
        job: what to run.
        environment: variables that it has besides.
        settings: values in place of the product's own, by their full names.
    """
    return Driver(*forks.start(_drive, job, dict(environment), dict(settings)))


def _drive(job: Job, environment: dict[str, str], settings: dict[str, Any]) -> str:
    os.environ.update(environment)
    with pytest.MonkeyPatch.context() as patch:
        without_ray(patch)
        for name, value in settings.items():
            patch.setattr(name, value)
        try:
            return run(job, Console(file=io.StringIO()))["status"]
        except (FatalError, RetryableError) as error:
            return f"{type(error).__name__}: {error}"
