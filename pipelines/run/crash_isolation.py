"""Shards that kill their process, or hang in it, are searched for the rows that do: a bad row costs only itself."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pipelines.corpus.plan import PLAN
from pipelines.stages.write import RESULT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

KILLED = "killed_worker"
KILLED_DETAIL = "its process died, or did not end within policy.shard_timeout_s, each time that this row was in it"

# A search costs a process, with its model, for each piece that dies; rounds take their time too.
_PIECES = 8

# Of more, the reason is the file or the machine.
_MOST_ROWS = 16


def find_killers(shards: pa.Table, probe: Callable[[pa.Table], set[str]]) -> dict[str, list[int]]:
    """Cut shards into pieces, those that die into smaller ones, and so on down to single rows.

    Args:
        shards: of the plan; each has killed the process that it was alone in.
        probe: computes pieces, each alone in its process and several times if it dies, and gives the ids of those that
            died each time. A piece is a shard of the plan's form, of fewer rows and another id.

    Returns:
        The rows, by their number in the file, of each shard where rows that kill were found, and not too many.
    """
    origin = {shard: shard for shard in shards["shard"].to_pylist()}
    found: dict[str, list[int]] = {}
    hopeless: set[str] = set()
    suspects: list[dict[str, Any]] = shards.to_pylist()
    while suspects:
        pieces = [piece for suspect in suspects for piece in _cut(suspect, origin)]
        died = probe(pa.Table.from_pylist(pieces, PLAN))
        dead = [piece for piece in pieces if piece["shard"] in died]
        for piece in dead:
            if piece["num_rows"] == 1:
                found.setdefault(origin[piece["shard"]], []).append(piece["file_row"])
        num_dead = Counter(origin[piece["shard"]] for piece in dead)
        hopeless |= {shard for shard, number in num_dead.items() if number > _MOST_ROWS}
        suspects = [p for p in dead if p["num_rows"] > 1 and origin[p["shard"]] not in hopeless]
    return {shard: rows for shard, rows in found.items() if shard not in hopeless}


def report_back(table: pa.Table) -> pa.Table:
    """Tell that a piece, as Ray hands it over, has come through the stages; nothing is written of it."""
    return pa.Table.from_pylist([{"shard": table["shard"][0].as_py()}], RESULT)


def _cut(shard: dict[str, Any], origin: dict[str, str]) -> Iterator[dict[str, Any]]:
    size = -(-shard["num_rows"] // _PIECES)
    for start in range(0, shard["num_rows"], size):
        piece = shard | {
            "shard": f"{shard['shard']}+{start}",
            "first_row": shard["first_row"] + start,
            "file_row": shard["file_row"] + start,
            "num_rows": min(size, shard["num_rows"] - start),
        }
        origin[piece["shard"]] = origin[shard["shard"]]
        yield piece
