"""What a kind of bad input is, and how it is tried: a job that works, something spoilt in it, and what comes of that.

There are four ways in which bad input may end. The job is refused: one clear line with the next step, exit status 2,
Ray never started, nothing written to the output. A row is rejected, with its reason, and no other row is touched. A
shard fails, where damage shows only once its rows are read. Or the input is harmless, and gives what plain input gives.
"""

import contextlib
import io
import os
import re
import shutil
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from jobs.cli import main
from pipelines.job.job import Job
from tests.chaos.bad_input.hang_limit import in_time
from tests.flow.in_process import read_output, read_rejected, run_stages, run_to_records

GOOD = pa.table({"id": ["a", "b"], "text": ["Good morning.", "Guten Morgen."], "lang": ["en", "de"]})


class Bench:
    """A job that works, in a folder of its own: a corpus of one file, the demo's checkpoint, an output not yet there.

    Attributes:
        folder: all of it lies here.
        demo: the demo's folder.
        settings: of the job; `run` writes them to `job_file`, unless `spec` says what to write.
        spec: the bytes of the job file.
    """

    def __init__(self, folder: Path, demo: Path):
        self.folder, self.demo = folder, demo
        self.job_file, self.corpus, self.out = folder / "job.yaml", folder / "corpus", folder / "out"
        self.settings: dict[str, Any] = {
            "input": {"path": str(self.corpus), "id": "id", "text": "text", "lang": "lang"},
            "model": {"checkpoint": str(demo / "checkpoint")},
            "tasks": ["feature-extraction"],
            "tokenizer": {"max_length": 128, "ja": "fugashi"},
            "batch": {"invariant": True},
            "output": {"path": str(self.out)},
        }
        self.spec: bytes | None = None
        self.corpus.mkdir(parents=True)
        self.write(GOOD)

    def write(self, table: pa.Table, name: str = "a.parquet", **options: Any) -> Path:
        """Put a file into the corpus."""
        pq.write_table(table, self.corpus / name, **options)
        return self.corpus / name

    def set(self, key: str, value: Any) -> None:
        """Change one setting, by its dotted name."""
        *groups, name = key.split(".")
        group = self.settings
        for part in groups:
            group = group.setdefault(part, {})
        group[name] = value

    def own_checkpoint(self) -> Path:
        """Copy the checkpoint, to be spoilt."""
        copy = self.folder / "checkpoint"
        shutil.copytree(self.demo / "checkpoint", copy)
        self.set("model.checkpoint", str(copy))
        return copy

    def text(self) -> str:
        """Write the settings as YAML."""
        return yaml.safe_dump(self.settings, allow_unicode=True, sort_keys=False)

    def run(self) -> tuple[int, str]:
        """Run the job from the command line; gives its exit status, and what it said."""
        if not os.path.lexists(self.job_file):
            self.job_file.write_bytes(self.text().encode() if self.spec is None else self.spec)
        said = io.StringIO()
        no_ray = mock.patch("ray.init", side_effect=AssertionError("Ray was started"))
        handler = signal.getsignal(signal.SIGTERM)
        try:
            with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said), no_ray, in_time():
                status = main(["run", str(self.job_file)])
        finally:
            signal.signal(signal.SIGTERM, handler)
        return status, said.getvalue()

    def results(self) -> pa.Table:
        """Run the job's stages in this process, and give what they wrote, in the order of the ids."""
        with in_time():
            run_to_records(Job.model_validate(self.settings))
        table = read_output(str(self.out)).sort_by("id")
        shutil.rmtree(self.out)
        return table

    def contents(self) -> dict[str, bytes | None]:
        """All files at the output, which a job that is refused may not change; the lock is no result."""
        found = [path for path in (self.out, *self.out.glob("**/*")) if path.is_symlink() or path.is_file()]
        return {str(p): None if p.is_symlink() else p.read_bytes() for p in found if p.name != "lock"}


Spoil = Callable[[Bench], None]


@dataclass(frozen=True)
class Refused:
    """Input with which no job can work.

    Attributes:
        name: what is bad.
        spoil: makes it.
        says: what the person must read; all that could differ from machine to machine is left out.
    """

    name: str
    spoil: Spoil
    says: str

    def attempt(self, folder: Path, demo: Path) -> str:
        """Run the job, and give the lines of the person, once it is sure that they are all that happened."""
        bench = Bench(folder, demo)
        self.spoil(bench)
        before = bench.contents()
        status, said = bench.run()
        assert status == 2, f"{self.name}: exit status {status}: {said}"
        lines = said.strip().splitlines()
        assert lines, f"{self.name}: nothing was said"
        for line in lines:
            assert line.startswith("xlm: "), f"{self.name}: {said}"
            assert len(line) < 1000 + 2 * len(str(folder)), f"{self.name}: {len(line)} characters in a line"
        assert self.says in said, f"{self.name}: expected {self.says!r} in {said!r}"
        assert bench.contents() == before, f"{self.name}: the output was touched"
        return "; ".join(_without_places(line, folder, demo).removeprefix("xlm: ") for line in lines)


@dataclass(frozen=True)
class Harmless:
    """Input that looks bad, and gives what plain input gives; `plain` is what is like it without being bad."""

    name: str
    spoil: Spoil
    plain: Spoil = lambda _: None

    def attempt(self, folder: Path, demo: Path) -> str:
        """Run the job both ways and compare what came out."""
        results: list[pa.Table] = []
        for change, name in ((self.plain, "plain"), (self.spoil, "bad")):
            bench = Bench(folder / name, demo)
            change(bench)
            results.append(bench.results())
        plain, bad = results
        assert len(plain), f"{self.name}: there is nothing to compare"
        assert bad.column_names == plain.column_names
        for name in plain.column_names:
            assert bad[name].to_pylist() == plain[name].to_pylist(), f"{self.name}: {name} differs"
        return "the results of plain input"


@dataclass(frozen=True)
class Fails:
    """A file of which a shard cannot be read, though nothing tells so before; the other files' shards are done."""

    name: str
    spoil: Spoil
    says: str

    def attempt(self, folder: Path, demo: Path) -> str:
        """Run the job over a good file and a bad one, and give the error of the shard."""
        bench = Bench(folder, demo)
        self.spoil(bench)
        with in_time():
            results = run_stages(Job.model_validate(bench.settings))
        (error,) = (result.failure.message for result in results if result.failure is not None)
        assert self.says in error, f"{self.name}: expected {self.says!r} in {error!r}"
        assert "\n" not in error
        assert [result.record.rows_out for result in results if result.record is not None] == [len(GOOD)]
        assert read_output(str(bench.out)).num_rows == len(GOOD)
        return f"the shard fails, the others are done: {_without_places(error, folder, demo)}"


@dataclass(frozen=True)
class Row:
    """A row, and why it is rejected; None where it has a result like any other."""

    name: str
    values: dict[str, Any]
    reason: str | None = None

    @property
    def is_short(self) -> bool:
        """Whether it takes no time."""
        return all(len(value) < 10_000 for value in self.values.values() if isinstance(value, str | bytes | list))


@dataclass(frozen=True)
class Outcome:
    """What became of rows, by their names: reason and detail of those rejected, the results of the others."""

    rejected: dict[str, tuple[str, str]]
    results: dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Rows:
    """Rows of one corpus, bad ones beside good ones.

    Attributes:
        name: what the rows have in common.
        schema: of the corpus; text may be given as bytes, where it is to be no UTF-8.
        rows: what there is; columns that a row does not name are as in `usual`.
        usual: a good row.
        settings: of the job, by their dotted names; `{heads}` stands for the folder of heads.
    """

    name: str
    schema: pa.Schema
    rows: Sequence[Row]
    usual: dict[str, Any]
    settings: dict[str, Any] = field(default_factory=dict)

    def bench(self, folder: Path, demo: Path, heads: Path, rows: Sequence[Row]) -> Bench:
        """Set up the job over some of the rows."""
        bench = Bench(folder, demo)
        for key, value in self.settings.items():
            bench.set(key, _filled(value, heads))
        values = [{name: self.usual[name](i) if callable(self.usual[name]) else self.usual[name] for name in self.usual}
                  | row.values for i, row in enumerate(rows)]  # fmt: skip
        columns = [column_of([value[f.name] for value in values], f.type) for f in self.schema]
        bench.write(pa.Table.from_arrays(columns, schema=self.schema))
        return bench

    def attempt(self, folder: Path, demo: Path, heads: Path) -> Outcome:
        """Run the job over all rows."""
        return self._run(self.bench(folder, demo, heads, self.rows), self.rows)

    def attempt_good(self, folder: Path, demo: Path, heads: Path) -> Outcome:
        """Run the job over those rows alone that have a result, less those that take long."""
        rows = [row for row in self.rows if row.reason is None and row.is_short]
        return self._run(self.bench(folder, demo, heads, rows), rows)

    def _run(self, bench: Bench, rows: Sequence[Row]) -> Outcome:
        with in_time():
            records = run_to_records(Job.model_validate(bench.settings))
        rejected = {row["row"]: (row["reason"], row["detail"]) for row in read_rejected(str(bench.out))}
        written = [row.name for i, row in enumerate(rows) if i not in rejected]
        results = read_output(str(bench.out)).drop("id").to_pylist()
        assert sum(record.rows_in for record in records) == len(rows)
        assert len(results) == len(written)
        return Outcome({rows[i].name: why for i, why in rejected.items()}, dict(zip(written, results, strict=True)))


def column_of(values: list[Any], kind: pa.DataType) -> pa.Array:
    """Make a column; strings given as bytes, also within lists, go in as they are, UTF-8 or not."""
    if pa.types.is_list(kind):
        words = [word for value in values for word in value or []]
        borders = [0]
        for value in values:
            borders.append(borders[-1] + len(value or []))
        empty = pa.array([value is None for value in values])
        return pa.ListArray.from_arrays(pa.array(borders, pa.int32()), column_of(words, kind.value_type), mask=empty)
    if not pa.types.is_string(kind):
        return pa.array(values, kind)
    return pa.array([v.encode() if isinstance(v, str) else v for v in values], pa.binary()).view(pa.string())


def _filled(value: Any, heads: Path) -> Any:
    if isinstance(value, str):
        return value.replace("{heads}", str(heads))
    if isinstance(value, list):
        return [_filled(item, heads) for item in value]
    return {name: _filled(item, heads) for name, item in value.items()} if isinstance(value, dict) else value


def _without_places(line: str, folder: Path, demo: Path) -> str:
    """Leave out of a line where this trial happened to lie."""
    for place in (folder, demo, Path.cwd()):
        line = line.replace(f"{place}/", "").replace(str(place), ".")
    return re.sub(r"ledger/\d{20}-[0-9a-f]{8}", "ledger/…", line)
