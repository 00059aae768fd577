"""Run functions in other processes, with their own environment variables."""

import os
from collections.abc import Callable
from typing import Any

from tests.forks import FORKS


def put_result(replies: Any, environment: dict[str, str], function: Callable[..., Any], *arguments: Any) -> None:
    """Call a function, and put its result or exception into a queue."""
    os.environ.update(environment)
    try:
        replies.put(function(*arguments))
    except Exception as error:
        replies.put(error)


def run_in_processes(calls: list[tuple[Any, ...]], environment: dict[str, str] | None = None) -> list[Any]:
    """Make all calls at the same time, each in its own process. Return results or exceptions, the first one first."""
    replies = FORKS.Queue()
    environment = {"XLM_CACHE": os.environ["XLM_CACHE"]} | (environment or {})
    environment |= {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    processes = [FORKS.Process(target=put_result, args=(replies, environment, *call)) for call in calls]
    for process in processes:
        process.start()
    results = [replies.get(timeout=240) for _ in processes]
    for process in processes:
        process.join()
    return results


def run_in_process(function: Callable[..., Any], *arguments: Any, **environment: str) -> Any:
    return run_in_processes([(function, *arguments)], environment)[0]
