"""Encode the rows of all objectives as examples, on Ray; files that are there are kept."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pipelines.errors import FatalError
from pipelines.formatting import format_count
from pipelines.log import announce
from pipelines.train.progress import EncodingProgress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from pipelines.stages import Node
    from pipelines.storage import Location
    from pipelines.train.examples import ExampleCorpus
    from pipelines.train.prepare import PreparedTraining

_COUNTS = "counts.json"  # of each shard: rows, examples, and the reasons why other rows were left out


def encode_examples(prepared: PreparedTraining, nodes: Sequence[Node], console: Console) -> dict[str, dict[str, Any]]:
    """Encode all examples that are not there yet.

    Returns:
        For each corpus, by its title: the numbers of `rows` and of `examples`, and the `reasons` why other rows were
        left out, with their number of rows.

    Raises:
        FatalError: too many rows cannot be used.
    """
    from pipelines.train.examples import encode_corpora  # imports Ray Data, while Ray's first workers start

    cpus = sum(node.cpus for node in nodes)
    spec = prepared.job.compute.tokenizers
    num_tokenizers = max(1, int(cpus - 1)) if spec == "auto" else spec
    todo: list[tuple[ExampleCorpus, pa.Table]] = []
    counts: dict[str, Any] = {}
    for corpus in prepared.corpora:
        counts[corpus.title] = _read_counts(corpus.encode.folder)
        done = {file.name.removesuffix(".parquet") for file in corpus.encode.folder.list()}
        done &= counts[corpus.title].keys()
        shards = corpus.shards.filter(pa.array([shard not in done for shard in corpus.shards["shard"].to_pylist()]))
        if len(shards):
            todo.append((corpus, shards))
    if todo:
        progress = EncodingProgress(
            console, sum(int(shards["num_rows"].to_numpy().sum()) for _, shards in todo), counts
        )
        announce(console, f"encoding {progress.describe_rows()}")
        with progress.show():
            encode_corpora(todo, num_tokenizers, progress.add)
        for corpus, _ in todo:
            (corpus.encode.folder / _COUNTS).put(json.dumps(counts[corpus.title]).encode())
    totals = {title: _add_up(shards) for title, shards in counts.items()}
    for title, total in totals.items():
        _check_rejected(prepared, title, total)
    return totals


def _read_counts(folder: Location) -> dict[str, Any]:
    file = folder / _COUNTS
    return json.loads(file.read_bytes()) if file.is_file() else {}


def _add_up(counts: dict[str, Any]) -> dict[str, Any]:
    reasons: Counter[str] = Counter()
    for count in counts.values():
        reasons.update(count["reasons"])
    numbers = {name: sum(count[name] for count in counts.values()) for name in ("rows", "examples")}
    return {**numbers, "reasons": dict(reasons.most_common())}


def _check_rejected(prepared: PreparedTraining, title: str, counts: dict[str, Any]) -> None:
    num_rows, reasons = counts["rows"], counts["reasons"]
    rejected, limit = sum(reasons.values()), prepared.job.policy.max_rejected
    if num_rows == 0:
        raise FatalError(f"{title}: no rows; correct the path or the filter")
    if rejected > limit * num_rows:
        listed = ", ".join(f"{number:,} {reason}" for reason, number in sorted(reasons.items()))
        raise FatalError(
            f"{title}: {rejected:,} of {format_count(num_rows, 'row')} cannot be used ({listed}), more than "
            f"policy.max_rejected ({limit:g}) allows; correct the rows, or raise the limit"
        )
