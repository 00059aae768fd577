"""Find repeated ids on Ray: tasks hash the ids of some shards each, and others compare the hashes of one part each."""

from __future__ import annotations

from collections import deque
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import ray
from ray.exceptions import RayError, RayTaskError

from pipelines.corpus.ids.repeated_hashes import RepeatedHashes, count_parts, split_hashes
from pipelines.errors import ClusterError
from pipelines.storage import describe_error

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

    import pyarrow as pa
    from numpy.typing import NDArray

    from pipelines.corpus.ids.id_column import IdColumn, IdRow

_RETRIES = 2  # if a worker dies
_BATCH_ROWS = 2**21  # whose ids a task hashes

# Ray keeps objects of up to 100 KB in the memory of the driver, so the hashes of a batch in one part must be larger.
_MIN_PART_ROWS = 2**15

_MAX_KEPT = 2**16  # hashes of a part that are kept if some of the repeated ones are enough


class Found(NamedTuple):
    """What the first pass has found.

    Attributes:
        repeated: the repeated hashes.
        num_rows: number of rows with an id.
        is_partial: whether some rows could not be read.
        batches: numbers of the batches with repeated hashes, in order.
    """

    repeated: RepeatedHashes
    num_rows: int
    is_partial: bool
    batches: list[int]


class _Hashed(NamedTuple):
    num_rows: int
    is_partial: bool


class IdTasks:
    """Runs the two passes of `find_duplicates` as tasks.

    The first bits of a hash decide in which part it is, so equal hashes are in the same part. They are in Ray's object
    store, which writes them to disk if they do not fit into memory.

    Args:
        ids: which ids to read.
        shards: the plan.
        keep_all: whether to keep all repeated hashes, also if there are very many.
    """

    def __init__(self, ids: IdColumn, shards: pa.Table, *, keep_all: bool):
        ends = np.cumsum(shards["num_rows"].to_numpy())
        num_rows = int(ends[-1]) if len(ends) else 0
        self._num_parts = count_parts(num_rows)
        batch_of = (ends - 1) // max(_BATCH_ROWS, self._num_parts * _MIN_PART_ROWS)
        starts = [*np.flatnonzero(np.diff(batch_of, prepend=-1)).tolist(), len(shards)]
        self._batches = [shards.slice(a, b - a) for a, b in pairwise(starts)]
        self._ids, self._max_kept = ray.put(ids), None if keep_all else _MAX_KEPT
        self._num_ahead = 2 * max(1, int(ray.cluster_resources().get("CPU", 1)))

    def find_repeated(self) -> Found:
        """Find the hashes that are repeated, and where they are.

        Raises:
            ClusterError: Ray failed.
            FatalError, RetryableError: see `Location`.
        """
        parts: list[list[Any]] = [[] for _ in range(self._num_parts)]  # references to the hashes of each batch
        hash_batch = _task(_hash_batch, num_returns=1 + self._num_parts)

        def start(batch: pa.Table) -> Any:
            hashed, *split = hash_batch(self._ids, batch, self._num_parts)
            for part, reference in zip(parts, split, strict=True):
                part.append(reference)
            return hashed

        hashed: list[_Hashed] = list(self._map(start, self._batches))
        find = _task(_find_in_part)
        # Each list is emptied as its task starts, so that Ray can delete the hashes when the task ends.
        found = list(self._map(lambda part: find(self._max_kept, *_empty(part)), parts))
        return Found(
            RepeatedHashes.join([repeated for repeated, _ in found]),
            sum(batch.num_rows for batch in hashed),
            any(batch.is_partial for batch in hashed),
            sorted({number for _, numbers in found for number in numbers}),
        )

    def read_suspects(self, found: Found) -> Iterator[IdRow]:
        """Yield the rows with repeated hashes, in plan order."""
        read, repeated = _task(_read_suspects), ray.put(found.repeated)
        batches = (self._batches[number] for number in found.batches)
        for rows in self._map(lambda batch: read(self._ids, batch, repeated), batches):
            yield from rows

    def _map(self, start: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        """Yield the result of a task for each item, in order, while at most some tasks are running or waiting."""
        running: deque[Any] = deque()
        with _ray_errors():
            for item in items:
                running.append(start(item))
                if len(running) > self._num_ahead:
                    yield ray.get(running.popleft())
            while running:
                yield ray.get(running.popleft())


def _task(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    return ray.remote(function).options(max_retries=_RETRIES, **options).remote


def _empty(references: list[Any]) -> list[Any]:
    taken = references.copy()
    references.clear()
    return taken


@contextmanager
def _ray_errors() -> Generator[None]:
    try:
        yield
    except RayTaskError as error:
        raise error.cause from None
    except RayError as error:
        raise ClusterError(f"Ray failed ({type(error).__name__}: {describe_error(error)})") from None


def _hash_batch(ids: IdColumn, shards: pa.Table, num_parts: int) -> list[Any]:
    """Return how many ids there are, and their hashes in each part."""
    hashes, is_partial = [], False
    for shard in ids.hash_shards(shards):
        hashes.append(shard.hashes)
        is_partial |= shard.is_partial
    num_rows = sum(map(len, hashes))
    return [_Hashed(num_rows, is_partial), *split_hashes(hashes, num_parts)]


def _find_in_part(max_kept: int | None, *batches: NDArray[np.uint64]) -> tuple[RepeatedHashes, list[int]]:
    """Return the repeated hashes of one part, and the numbers of the batches that have some of them."""
    repeated = RepeatedHashes.find(batches)
    repeated = repeated._replace(hashes=repeated.hashes[:max_kept])
    return repeated, [number for number, hashes in enumerate(batches) if len(repeated.find_in(hashes))]


def _read_suspects(ids: IdColumn, shards: pa.Table, repeated: RepeatedHashes) -> list[IdRow]:
    return list(ids.read_suspects(shards, repeated))
