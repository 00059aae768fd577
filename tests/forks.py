"""Processes that start in no time: forks of one that has imported everything, and has no threads nor connections."""

import multiprocessing
import threading
from collections.abc import Callable
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from typing import Any

FORKS = multiprocessing.get_context("forkserver")

# there is one server for all, and the last list that it is given holds
FORKS.set_forkserver_preload(["tests.chaos.drivers", "tests.chaos.protocols", "pipelines.checkpoints.cache"])

_LOCK = threading.Lock()  # a process that starts looks after all others, and would take their exit status


def start(work: Callable[..., Any], *args: Any) -> tuple[BaseProcess, Any]:
    """Call a function in a fork; threads may do so at the same time.

    Returns:
        The process, and the end of a pipe on which its result comes, or EOF if it was killed.
    """
    receiving, sending = FORKS.Pipe(duplex=False)
    process = FORKS.Process(target=_answer, args=(sending, work, *args))
    with _LOCK:
        process.start()
    sending.close()
    return process, receiving


def join(process: BaseProcess) -> None:
    """Wait for a fork's end."""
    wait([process.sentinel])
    with _LOCK:
        process.join()


def _answer(sending: Any, work: Callable[..., Any], *args: Any) -> None:
    sending.send(work(*args))
