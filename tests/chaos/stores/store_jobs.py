"""Jobs whose corpus, checkpoint and output are on an object store behind a proxy, and their outputs."""

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
from pipelines.storage.retries import access_with_retries
from tests.chaos.stores.driver_process import Driver, start_driver
from tests.chaos.stores.proxy import Proxy, run_proxy
from tests.chaos.stores.request_faults import Fault, Faults, Rule
from tests.chaos.stores.servers import Server

BUCKET = "corpus"

# Shortens the seconds between the retries of a run to a twentieth.
QUICK_RETRIES = {"pipelines.storage.retries._RETRY_AFTER_S": (0.05, 0.2, 0.8)}

Objects = dict[str, bytes]


class Store:
    """A server with the demo's corpus, checkpoint and heads, and a proxy in front of it.

    Attributes:
        undisturbed: the output of a run without faults.
        steps: the requests with which that run changed the store, in order, such as `PUT ledger`.
    """

    def __init__(self, server: Server, proxy: Proxy):
        self.server, self.proxy = server, proxy
        self.undisturbed: Objects = {}
        self.steps: list[str] = []

    def job(self, out: str, **changes: Any) -> Job:
        """Make a small version of the demo's job that accesses the store through the proxy."""
        spec = small_job(lambda path: self.server.url(BUCKET, path), out)
        return Job.model_validate(spec | {"storage": self.server.options(self.proxy.url)} | changes)

    def start(self, out: str, constants: Mapping[str, Any] = QUICK_RETRIES, **changes: Any) -> Driver:
        """Start a run in another process."""
        environment = {name: os.environ[name] for name in ("XLM_CACHE",) if name in os.environ}
        return start_driver(self.job(out, **changes), self.server.environment | environment, constants)

    def run(self, out: str, constants: Mapping[str, Any] = QUICK_RETRIES, **changes: Any) -> str | None:
        """Run a job, and return its outcome, see `Driver.wait`."""
        return self.start(out, constants, **changes).wait()

    def run_undisturbed(self) -> None:
        """Run the job without faults, and set `undisturbed` and `steps`."""
        assert self.run("undisturbed") == "complete"
        self.undisturbed = self.output("undisturbed")
        self.steps = [f"{request.method} {_describe_path(request.path)}" for request in self.proxy.mutations]

    @contextmanager
    def with_own_proxy(self) -> Iterator["Store"]:
        """Access the same store through another proxy, so that several runs have separate faults."""
        with run_proxy(self.server.endpoint) as proxy:
            other = Store(self.server, proxy)
            other.undisturbed, other.steps = self.undisturbed, self.steps
            yield other

    def output(self, out: str) -> Objects:
        return self.server.objects(f"{BUCKET}/{out}")

    def expire_locks(self, out: str) -> None:
        """Remove the locks of killed runs, as if they had expired.

        Retries, because a file is leased for 15 s to an Azure client that was killed while it removed the file.
        """
        for name in self.output(out):
            if name.startswith("_xlm/lock"):
                path = f"{BUCKET}/{out}/{name}"
                access_with_retries(path, lambda path=path: self.server.fs.delete_file(path))


@contextmanager
def running_store(serve: Callable[[], AbstractContextManager[Server]], demo: Path) -> Iterator[Store]:
    """Run a server with the demo's files, and a proxy in front of it, for the length of a `with` block."""
    with serve() as server, run_proxy(server.endpoint) as proxy:
        server.make_bucket(BUCKET)
        for file in sorted((demo / "corpus").iterdir()):  # with checksums, which the demo's files do not have
            sink = pa.BufferOutputStream()
            pq.write_table(pq.read_table(file), sink, row_group_size=128, write_page_checksum=True)
            server.write(f"{BUCKET}/corpus/{file.name}", sink.getvalue().to_pybytes())
        for folder in ("checkpoint", "heads"):
            server.copy_in(demo / folder, f"{BUCKET}/{folder}")
        store = Store(server, proxy)
        store.run_undisturbed()
        yield store


def small_job(to_url: Callable[[str], str], out: str) -> dict[str, Any]:
    """Return the settings of a job. `to_url` converts a relative path of the demo to an address."""
    return {
        "input": {
            "path": to_url("corpus/"),
            "id": "id",
            "text": "text",
            "lang": "lang",
            "keep": ["lang", "year"],
            "filter": "year >= 2020",
        },
        "model": {"checkpoint": to_url("checkpoint")},
        "tasks": ["feature-extraction", {"text-classification": {"head": to_url("heads/topic")}}],
        "tokenizer": {"max_length": 32, "ja": "fugashi"},
        "output": {"path": to_url(out), "rows_per_shard": 128},
        "policy": {"max_rejected": 0.05},
    }


def results_by_shard(output: Objects) -> dict[tuple[str, int], tuple[pa.Table, list[dict[str, Any]]]]:
    """Return the rows and rejected rows of each shard, by the name of its file and its first row there.

    Checks that the output has exactly the parts of the plan.
    """
    plan = pq.read_table(pa.BufferReader(output["_xlm/plan.parquet"])).to_pylist()
    parts = {f"data/part-{shard['shard']}.parquet": shard for shard in plan}
    assert {name for name in output if name.startswith("data/")} == parts.keys()
    found = {}
    for name, shard in parts.items():
        rejected = output.get(f"_xlm/rejected/{PurePosixPath(name).name}")
        rows = pq.read_table(pa.BufferReader(rejected)).drop_columns("file").to_pylist() if rejected else []
        table = pq.read_table(pa.BufferReader(output[name])).replace_schema_metadata()
        first = shard["members"][0]
        found[PurePosixPath(first["file"]).name, first["file_row"]] = table, rows
    return found


def result_files(output: Objects) -> Objects:
    """Return the parts and the files of rejected rows, without temporary objects of the latter."""
    found = {name: content for name, content in output.items() if name.startswith(("data/", "_xlm/rejected/"))}
    return {name: content for name, content in found.items() if not name.endswith(".tmp")}


def count_ids(output: Objects) -> Counter[str]:
    """Count how often each id occurs in the parts and the files of rejected rows."""
    found: Counter[str] = Counter()
    for content in result_files(output).values():
        found.update(pq.read_table(pa.BufferReader(content), columns=["id"])["id"].to_pylist())
    return found


def is_complete(output: Objects) -> bool:
    """Whether `_SUCCESS` exists, and no lock and no temporary object."""
    return "_SUCCESS" in output and not [name for name in output if "/lock" in name or name.endswith(".tmp")]


def random_faults(scale: float, seed: int = 7) -> Faults:
    """Make faults of all kinds. At scale 1, about 20 of 100 requests are refused, 10 reset, others late or truncated.

    Each kind happens at least once. Azure's client fails if a listing is truncated, so only contents are.
    """
    content = r"/corpus/[^?]+\.(parquet|json)$"
    kinds = [
        Rule(Fault.BUSY, 0.12),
        Rule(Fault.INTERNAL_ERROR, 0.05),
        Rule(Fault.THROTTLED, 0.03),
        Rule(Fault.RESET, 0.08),
        Rule(Fault.RESET_IN_REQUEST, 0.05, method="PUT", path=r"\.parquet$|comp=block\b"),
        Rule(Fault.RESET_IN_RESPONSE, 0.05, method="GET", path=content),
        Rule(Fault.TRUNCATED, 0.05, method="GET", path=content),
        Rule(Fault.LOST_RESPONSE, 0.15, method="PUT|DELETE"),
        Rule(Fault.DELAY, 0.05),
    ]
    certain = [Rule(kind.fault, method=kind.method, path=kind.path, times=1, after=i) for i, kind in enumerate(kinds)]
    for kind in kinds:
        kind.share *= scale
    return Faults(*certain, *kinds, seed=seed, delay_s=0.2)


def _describe_path(path: str) -> str:
    """Describe the object of a request, in the same way for every shard, and on Azure the part of the object."""
    path, _, query = path.partition("?")
    *_, folder, name = path.split("/")
    name = re.sub(r"^\.(.+)\.[0-9a-f]+\.tmp$", r"temporary \1", name) or "folder"
    name = folder if folder in ("ledger", "rejected") else re.sub(r"\b(part|lock)-.*", r"\1", name)
    return f"{name} {query.rpartition('comp=')[2]}".strip()
