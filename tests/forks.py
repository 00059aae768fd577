"""Start processes quickly: forks of a server process that has loaded everything and has no threads or connections."""

import multiprocessing
import threading
from collections.abc import Callable
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from typing import Any

FORKS = multiprocessing.get_context("forkserver")

# Each test process has one fork server, and only the last list passed to it counts.
FORKS.set_forkserver_preload([
    "tests.chaos.stores.driver_process",
    "tests.chaos.driver.scenarios",
    "pipelines.checkpoints.cache",
    "xlm_core.checkpoint.pretrained",  # this and the following are imported by the first shard
    "xlm_core.inference.collectors",
    "xlm_core.inference.model",
    "tests.preloaded",
])  # fmt: skip

# Process.start() also reaps processes that have ended, so another thread could lose their exit status.
_LOCK = threading.Lock()


def start(work: Callable[..., Any], *args: Any) -> tuple[BaseProcess, Any]:
    """Call a function in a new process; several threads may do so at the same time.

    Returns:
        The process, and the receiving end of a pipe: it gives the function's result, or EOF if the process was killed.
    """
    receiving, sending = FORKS.Pipe(duplex=False)
    process = FORKS.Process(target=_send_result, args=(sending, work, *args))
    with _LOCK:
        process.start()
    sending.close()
    return process, receiving


def join(process: BaseProcess) -> None:
    """Wait until a process has ended."""
    wait([process.sentinel])
    with _LOCK:
        process.join()


def _send_result(sending: Any, work: Callable[..., Any], *args: Any) -> None:
    sending.send(work(*args))
