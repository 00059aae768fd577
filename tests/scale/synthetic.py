"""Outputs with very many committed shards, written without computing anything, and what their records add up to."""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.corpus import Corpus, Plan
from pipelines.corpus.known_files import FirstFile
from pipelines.corpus.planned_shard import MEMBER, Member, build_plan
from pipelines.job import Job, fingerprint_digest, result_settings
from pipelines.output import REJECTED_FILE, SECONDS, SHARD_COUNTS, Output, ShardRecord, encode_schema, part_name
from pipelines.output.layout import ledger_file_name
from pipelines.output.ledger.files import LEDGER_FILE, encode_files
from pipelines.output.shard_record import RECORD
from pipelines.rows import LANG_COUNTS, NUM_LENGTH_BINS
from pipelines.run.prepare import Prepared
from pipelines.storage import FileInfo, locate
from tests.pipelines.corpus.shards import shard_id

ROWS_PER_SHARD = 1_000
NUM_LANGS = 15
REJECTED_EVERY = 10  # every tenth shard has rejected rows
FIRST_COMMIT_NS = 1_700_000_000 * 10**9

PART_ROWS = pa.table({"file": ["f"], "row": [0], "embedding": pa.array([[0.5] * 4], pa.list_(pa.float32(), 4))})
SEGMENTERS = {"moses": "sacremoses 1"}
REJECTED_ROWS = REJECTED_FILE.empty_table()

_SHARDS_PER_COMMIT = 20
_FILE_BYTES = 4 * 2**20
_AT_ONCE = 10_000
_RECORDS_AT_ONCE = 1_000  # as Python objects
_LINKS = 50_000  # file systems allow 65,000 links to a file


@dataclass
class Simulation:
    """A run that resumes an output whose first shards are done, as if a run had been killed then.

    Attributes:
        prepared: the job, with what a run reads of it.
        num_done: number of shards that are done.
        sizes: of a part, and of a file of rejected rows.
        counts, reasons, langs, seconds: what the records that were made so far add up to, and the seconds of each.
    """

    prepared: Prepared
    num_done: int
    sizes: tuple[int, int]
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))
    counts: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    langs: Any = field(default_factory=lambda: np.zeros((NUM_LANGS, len(LANG_COUNTS) + NUM_LENGTH_BINS), np.int64))
    seconds: list[Any] = field(default_factory=list)

    def later_records(self) -> Iterator[ShardRecord]:
        """Yield the records of the other shards, as the write stage returns them."""
        num_shards = len(self.prepared.plan.shards)
        for first in range(self.num_done, num_shards, _RECORDS_AT_ONCE):
            rows = make_records(self, first, min(_RECORDS_AT_ONCE, num_shards - first)).select(RECORD.names)
            yield from map(ShardRecord.from_row, rows.to_pylist(maps_as_pydicts="strict"))


def shard_names(first: int, number: int) -> list[str]:
    return [shard_id([Member(url, 0, 0, "", 0, 0, 0, ROWS_PER_SHARD)]) for url in file_urls(first, number)]


def simulate(folder: Path, num_shards: int, num_done: int) -> Simulation:
    """Write an output of this many shards, the first of which are done."""
    spec = {
        "name": "scale",
        "input": {"path": str(folder / "corpus"), "text": "text", "lang": {"fixed": "de"}},
        "model": {"checkpoint": str(folder / "checkpoint")},
        "tasks": ["feature-extraction"],
        "policy": {"max_rejected": 1.0},
        "output": {"path": str(folder / "out")},
    }
    job = Job.model_validate(spec)
    plan = make_plan(num_shards)
    fingerprint = result_settings(job)
    description = {
        "spec": job.model_dump(mode="json"),
        "fingerprint": fingerprint,
        "segmenters": SEGMENTERS,
        "metadata": {"xlm:fingerprint": fingerprint_digest(fingerprint)},
        "schema": encode_schema(PART_ROWS.schema),
    }
    output = Output(locate(str(folder / "out")))
    output.begin(description, plan.to_table())
    shards = shard_names(0, num_done)
    sizes = (
        _write_files(Path(output.parts.path), shards, PART_ROWS),
        _write_files(Path(output.rejected.path), shards[::REJECTED_EVERY], REJECTED_ROWS),
    )
    parts = {"job": job, "plan": plan, "output": output.location, "segmenters": SEGMENTERS, "description": description}
    prepared = Prepared(**dict.fromkeys(each.name for each in fields(Prepared)) | parts)  # the rest is not read
    simulation = Simulation(prepared, num_done, sizes)
    tables = (make_records(simulation, i, min(_AT_ONCE, num_done - i)) for i in range(0, num_done, _AT_ONCE))
    for number, data in enumerate(encode_files(tables, _FILE_BYTES)):
        (output.ledger.folder / ledger_file_name(number, "00000000")).put(data)
    return simulation


def make_plan(num_shards: int) -> Plan:
    """Plan a shard for each of as many files."""
    numbers = dict.fromkeys(("size", "mtime_ns", "row_group", "first_row", "file_row", "text_bytes"), 0)
    columns: dict[str, Any] = {name: np.full(num_shards, number) for name, number in numbers.items()}
    columns |= {"file": file_urls(0, num_shards), "etag": [""] * num_shards}
    columns["num_rows"] = np.full(num_shards, ROWS_PER_SHARD)
    members = pa.table([columns[name] for name in MEMBER.names], MEMBER.names).cast(MEMBER)
    shards = build_plan(pa.array(shard_names(0, num_shards)), np.arange(num_shards + 1), members)
    first = FirstFile(FileInfo(columns["file"][0], 0, 0), pa.schema([]))
    return Plan(shards, Corpus(members, MEMBER.empty_table(), pa.schema([]), first, basis=""))


def file_urls(first: int, number: int) -> list[str]:
    return [f"s3://corpus/news/2024/part-{i:07d}.parquet" for i in range(first, first + number)]


def _write_files(folder: Path, shards: list[str], rows: pa.Table) -> int:
    """Write the same rows as the file of each shard, and return the size of a file."""
    folder.mkdir(parents=True)
    for first in range(0, len(shards), _LINKS):
        names = [part_name(shard) for shard in shards[first : first + _LINKS]]
        pq.write_table(rows, folder / names[0])
        for name in names[1:]:
            os.link(folder / names[0], folder / name)
    return (folder / part_name(shards[0])).stat().st_size


def make_records(simulation: Simulation, first: int, n: int) -> pa.Table:
    """Make records of consecutive shards, and add them up."""
    rng, (part_bytes, rejected_bytes) = simulation.rng, simulation.sizes
    rejected = np.where(np.arange(first, first + n) % REJECTED_EVERY == 0, rng.integers(1, 9, n), 0)
    counts = {name: rng.integers(0, 10**6, n) for name in SHARD_COUNTS} | {
        "rows_read": np.full(n, ROWS_PER_SHARD),
        "rows_in": np.full(n, ROWS_PER_SHARD),
        "rows_out": ROWS_PER_SHARD - rejected,
        "rows_rejected": rejected,
        "bytes": np.full(n, part_bytes),
    }
    seconds = {name: rng.random(n) for name in SECONDS}
    langs = rng.integers(0, 500, (n, NUM_LANGS, len(LANG_COUNTS) + NUM_LENGTH_BINS))
    simulation.counts.update({name: int(values.sum()) for name, values in counts.items()})
    simulation.reasons["empty_text"] += int(rejected.sum())
    simulation.langs += langs.sum(0)
    simulation.seconds.append(sum(seconds.values()))

    shards = shard_names(first, n)
    digests = pa.array([f"{i * 7919:064x}" for i in range(first, first + n)])
    has_rejected = (rejected > 0).astype(np.int32)
    offsets = pa.array(np.concatenate([[0], np.cumsum(has_rejected)]).astype(np.int32))
    reasons, codes = ["empty_text"] * has_rejected.sum(), ["de"] * has_rejected.sum()
    num_rejected = pa.array(rejected[rejected > 0])
    commits = np.arange(first, first + n) // _SHARDS_PER_COMMIT
    columns: dict[str, Any] = {
        "shard": shards,
        "part": [part_name(shard) for shard in shards],
        "file": file_urls(first, n),
        "num_files": np.ones(n, np.int64),
        **counts,
        "digest": digests,
        "rejected_bytes": pa.array(np.full(n, rejected_bytes), mask=rejected == 0),
        "rejected_digest": pa.array(digests.to_pylist(), mask=rejected == 0),
        "reasons": pa.MapArray.from_arrays(offsets, reasons, num_rejected),
        "rejected_langs": pa.MapArray.from_arrays(offsets, codes, num_rejected),
        "langs": _langs_array(langs),
        "segmenters": pa.MapArray.from_arrays(
            np.arange(n + 1, dtype=np.int32), [*SEGMENTERS] * n, [*SEGMENTERS.values()] * n
        ),
        "ids_digest": digests,
        "precision": ["float32"] * n,
        **seconds,
        "committed_ns": FIRST_COMMIT_NS + commits * 10**9,
    }
    return pa.table([columns[name] for name in LEDGER_FILE.names], LEDGER_FILE.names).cast(LEDGER_FILE)


def _langs_array(langs: Any) -> pa.ListArray:
    n = len(langs) * NUM_LANGS
    flat = langs.reshape(n, -1)
    bins = pa.array(flat[:, len(LANG_COUNTS) :].reshape(-1))
    lengths = pa.ListArray.from_arrays(pa.array(np.arange(n + 1, dtype=np.int32) * NUM_LENGTH_BINS), bins)
    codes = pa.array([f"l{i}" for i in range(NUM_LANGS)]).take(pa.array(np.arange(n) % NUM_LANGS))
    counts = [pa.array(flat[:, i].copy()) for i in range(len(LANG_COUNTS))]
    structs = pa.StructArray.from_arrays([codes, *counts, lengths], ["lang", *LANG_COUNTS, "lengths"])
    return pa.ListArray.from_arrays(pa.array(np.arange(len(langs) + 1, dtype=np.int32) * NUM_LANGS), structs)
