"""Jobs from, to and with a checkpoint on an object store, a proxy before it; and what they leave there."""

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.job.job import Job
from pipelines.storage.retries import persistently
from tests.chaos.stores.driver_process import Driver, start_driver
from tests.chaos.stores.proxy import Proxy, proxy
from tests.chaos.stores.request_faults import Fault, Faults, Rule
from tests.chaos.stores.servers import Server

BUCKET = "corpus"

# Waits of seconds between a run's own tries become a twentieth.
IMPATIENT = {"pipelines.storage.retries._RETRY_AFTER_S": (0.05, 0.2, 0.8)}

Objects = dict[str, bytes]


class Store:
    """A server with the demo's corpus, checkpoint and heads in it, and a proxy before it.

    Attributes:
        undisturbed: what a run leaves when nothing is in its way.
        steps: the requests by which it changes the store, in their order, such as `PUT ledger`.
    """

    def __init__(self, server: Server, proxy: Proxy):
        self.server, self.proxy = server, proxy
        self.undisturbed: Objects = {}
        self.steps: list[str] = []

    def job(self, out: str, **changes: Any) -> Job:
        """Make the demo's job, in fewer and smaller steps, with everything in the store, reached through the proxy."""
        spec = small_job(lambda path: self.server.url(BUCKET, path), out)
        return Job.model_validate(spec | {"storage": self.server.options(self.proxy.url)} | changes)

    def start(self, out: str, settings: Mapping[str, Any] = IMPATIENT, **changes: Any) -> Driver:
        """Begin a run in a process of its own."""
        environment = {name: os.environ[name] for name in ("XLM_CACHE",) if name in os.environ}
        return start_driver(self.job(out, **changes), self.server.environment | environment, settings)

    def run(self, out: str, settings: Mapping[str, Any] = IMPATIENT, **changes: Any) -> str | None:
        """Run to the end, and give it: see `Driver.ending`."""
        return self.start(out, settings, **changes).ending()

    def run_undisturbed(self) -> None:
        """Learn `undisturbed` and `steps`."""
        assert self.run("undisturbed") == "complete"
        self.undisturbed = self.output("undisturbed")
        self.steps = [f"{request.method} {_subject(request.path)}" for request in self.proxy.mutations]

    @contextmanager
    def beside(self) -> Iterator["Store"]:
        """Give the same store behind a proxy of its own, so that several runs do not meet each other's faults."""
        with proxy(self.server.endpoint) as own:
            other = Store(self.server, own)
            other.undisturbed, other.steps = self.undisturbed, self.steps
            yield other

    def output(self, out: str) -> Objects:
        return self.server.objects(f"{BUCKET}/{out}")

    def expire_locks(self, out: str) -> None:
        """Remove the locks of dead runs, as if the time had passed in which they count.

        What an Azure client was killed at removing is leased to it for 15 s.
        """
        for name in self.output(out):
            if name.startswith("_xlm/lock"):
                path = f"{BUCKET}/{out}/{name}"
                persistently(path, lambda path=path: self.server.fs.delete_file(path))


@contextmanager
def running_store(serve: Callable[[], AbstractContextManager[Server]], demo: Path) -> Iterator[Store]:
    """Run a server with the demo's files in it, and a proxy before it, for the length of a `with` block."""
    with serve() as server, proxy(server.endpoint) as before:
        server.make_bucket(BUCKET)
        for file in sorted((demo / "corpus").iterdir()):  # with checksums, which the demo's own lacks
            sink = pa.BufferOutputStream()
            pq.write_table(pq.read_table(file), sink, row_group_size=128, write_page_checksum=True)
            server.write(f"{BUCKET}/corpus/{file.name}", sink.getvalue().to_pybytes())
        for folder in ("checkpoint", "heads"):
            server.copy_in(demo / folder, f"{BUCKET}/{folder}")
        store = Store(server, before)
        store.run_undisturbed()
        yield store


def small_job(place: Callable[[str], str], out: str) -> dict[str, Any]:
    """Give the settings of a job whose files lie where `place` says."""
    return {
        "input": {
            "path": place("corpus/"),
            "id": "id",
            "text": "text",
            "lang": "lang",
            "keep": ["lang", "year"],
            "filter": "year >= 2020",
        },
        "model": {"checkpoint": place("checkpoint")},
        "tasks": ["feature-extraction", {"text-classification": {"head": place("heads/topic")}}],
        "tokenizer": {"max_length": 32, "ja": "fugashi"},
        "output": {"path": place(out), "rows_per_shard": 128},
        "policy": {"max_rejected": 0.05},
    }


def results(output: Objects) -> dict[tuple[str, int], tuple[pa.Table, list[dict[str, Any]]]]:
    """Give the rows and rejected rows of every shard, known by its file's name and its first row there.

    Every part is one that the plan has, and none is missing.
    """
    plan = pq.read_table(pa.BufferReader(output["_xlm/plan.parquet"])).to_pylist()
    parts = {f"part-{shard['shard']}.parquet": shard for shard in plan}
    assert {name for name in output if name.startswith("part-")} == parts.keys()
    found = {}
    for name, shard in parts.items():
        rejected = output.get(f"_xlm/rejected/{name}")
        rows = pq.read_table(pa.BufferReader(rejected)).drop_columns("file").to_pylist() if rejected else []
        table = pq.read_table(pa.BufferReader(output[name])).replace_schema_metadata()
        found[PurePosixPath(shard["file"]).name, shard["file_row"]] = table, rows
    return found


def data(output: Objects) -> Objects:
    """Give the files that carry results."""
    return {name: content for name, content in output.items() if name.startswith(("part-", "_xlm/rejected/part-"))}


def ids(output: Objects) -> Counter[str]:
    """Count how often each row stands in the output or among the rejected ones."""
    found: Counter[str] = Counter()
    for content in data(output).values():
        found.update(pq.read_table(pa.BufferReader(content), columns=["id"])["id"].to_pylist())
    return found


def is_complete(output: Objects) -> bool:
    """Whether it says so, and nothing is left of any run's lock or temporary objects."""
    return "_SUCCESS" in output and not [name for name in output if "/lock" in name or name.endswith(".tmp")]


def trouble(scale: float, seed: int = 7) -> Faults:
    """Of 100 requests, turn some 20 away, reset 10, be late, cut short, or give no answer to others; at scale 1.

    One of each kind is certain to come. Azure's client does not survive a listing that is cut, hence the paths.
    """
    content = r"/corpus/[^?]+\.(parquet|json)$"
    kinds = [
        Rule(Fault.BUSY, 0.12),
        Rule(Fault.BROKEN, 0.05),
        Rule(Fault.THROTTLED, 0.03),
        Rule(Fault.RESET, 0.08),
        Rule(Fault.RESET_IN_REQUEST, 0.05, method="PUT", path=r"\.parquet$|comp=block\b"),
        Rule(Fault.RESET_IN_RESPONSE, 0.05, method="GET", path=content),
        Rule(Fault.CUT, 0.05, method="GET", path=content),
        Rule(Fault.LOST_ACK, 0.15, method="PUT|DELETE"),
        Rule(Fault.DELAY, 0.05),
    ]
    certain = [Rule(kind.fault, method=kind.method, path=kind.path, times=1, after=i) for i, kind in enumerate(kinds)]
    for kind in kinds:
        kind.share *= scale
    return Faults(*certain, *kinds, seed=seed, delay_s=0.2)


def _subject(path: str) -> str:
    """Name the object that a request is about, one shard's like another's; and what of it, as Azure has it."""
    path, _, query = path.partition("?")
    *_, folder, name = path.split("/")
    name = re.sub(r"^\.(.+)\.[0-9a-f]+\.tmp$", r"temporary \1", name) or "folder"
    name = folder if folder in ("ledger", "rejected") else re.sub(r"\b(part|lock)-.*", r"\1", name)
    return f"{name} {query.rpartition('comp=')[2]}".strip()
