"""End a run early if the processes of a stage die again and again, whatever rows they compute.

The starts of processes are keys in the cluster's key-value store, and so is the fact that one of them has finished a
shard. The driver does not see deaths: a shard whose process dies simply does not return.
"""

from __future__ import annotations

import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

import ray

from pipelines.errors import ClusterError
from pipelines.ray_internals import has_key, list_keys, put_key
from pipelines.stages.stop_signal import run_prefix

if TYPE_CHECKING:
    from collections.abc import Generator

# The number of processes. There are as many identifiers as tokenizers.
_SETTINGS = {"identifier": "tokenizers", "tokenizer": "tokenizers", "model": "models"}


class StartLimit:
    """Limits how many processes of a stage may start before one of them has finished a shard.

    Args:
        process: what the stage's processes are.
        max_starts: the limit; None if there is none.
    """

    def __init__(self, process: Literal["identifier", "tokenizer", "model"], max_starts: int | None):
        self._process, self._max_starts = process, max_starts
        self._id, self._is_known_to_work = uuid.uuid4().hex, False
        self._refusal: ClusterError | None = None

    def check(self) -> None:
        """Register the start of this process. Must be called before it loads what it needs.

        Raises:
            ClusterError: too many processes have started.
        """
        if self._refusal is not None:
            raise self._refusal  # the run may have ended, and deleted its keys
        if self._max_starts is None or not ray.is_initialized() or has_key(self._works_key):
            return
        put_key(f"{self._starts_key}{self._id}")
        num_starts = len(list_keys(self._starts_key))
        if num_starts > self._max_starts:
            self._refusal = ClusterError(
                f"{self._process} processes die or exceed the time limit whatever rows they compute: {num_starts - 1} "
                "have started, and none has finished a shard; often a node has too little memory, which its system "
                f"log tells: set compute.{_SETTINGS[self._process]} lower, or use nodes with more memory"
            )
            raise self._refusal

    @contextmanager
    def survival(self, num_rows: int) -> Generator[None]:
        """Note that this process survives a `with` block that computes so many rows. From then on there is no limit.

        A shard without rows, which a filter may leave, does not count.
        """
        try:
            yield
        finally:
            if num_rows and not self._is_known_to_work and ray.is_initialized():
                put_key(self._works_key)
                self._is_known_to_work = True

    @property
    def _starts_key(self) -> str:
        return f"{run_prefix()}starts/{self._process}/"

    @property
    def _works_key(self) -> str:
        return f"{run_prefix()}works/{self._process}"
