"""What verification finds: problems, and what was checked of one shard."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from pipelines.storage import Location

RUN_AGAIN = "run the job again to compute its shard again"
COMPUTE_AGAIN = f"delete the part, and {RUN_AGAIN}"


class Problem(NamedTuple):
    """Something in an output that is not as it should be.

    Attributes:
        url: the file.
        message: what is wrong, and what was expected.
        advice: what to do.
    """

    url: str
    message: str
    advice: str

    def __str__(self) -> str:
        return f"{self.url}: {self.message}; {self.advice}"


@dataclass
class ShardFindings:
    """What was checked of one shard.

    Attributes:
        shard: the shard's id.
        problems: what is wrong.
        schema: the declared schema of its part; None if it cannot be read.
        id_hashes: a hash of each row's id, uint64 [N]; empty without an id column. Equal ids have equal hashes.
        counts: number of `rows_out`, `rows_rejected`, `bytes`, `vectors` and `spans` that were checked.
        compared_with_input: whether its rows were compared with the rows of the input.
        rewritten: whether a file is intact, but not the one that was recorded.
    """

    shard: str
    problems: list[Problem] = field(default_factory=list[Problem])
    schema: pa.Schema | None = None
    id_hashes: NDArray[np.uint64] = field(default_factory=lambda: np.empty(0, np.uint64))
    counts: Counter[str] = field(default_factory=Counter[str])
    compared_with_input: bool = False
    rewritten: bool = False

    def add_problem(self, file: Location, message: str, advice: str = COMPUTE_AGAIN) -> None:
        """Add a problem of a file."""
        self.problems.append(Problem(file.url, message, advice))
