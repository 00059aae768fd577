"""Read what an output contains, and compare outputs."""

import hashlib
import json
from collections import Counter
from functools import cache
from pathlib import Path

import pyarrow.dataset as ds
import pyarrow.parquet as pq

from pipelines.output import Output
from pipelines.storage import locate


def read_contents(out: Path) -> dict[str, object]:
    """Read everything in an output, by relative path, without paths and times, which differ between any two runs."""
    found: dict[str, object] = {}
    for path in (path for path in out.rglob("*") if path.is_file()):
        name = str(path.relative_to(out))
        if name == "_xlm/report.json":
            report = json.loads(path.read_text().replace(str(out), "OUT"))
            found[name] = {key: report[key] for key in report.keys() - {"run", "stage_seconds", "slowest"}}
        elif name == "_xlm/run.json":
            run = json.loads(path.read_text().replace(str(out), "OUT"))
            found[name] = {key: run[key] for key in ("status", "num_failed", "rows_failed", "failed")}
        elif name == "_xlm/job.json":
            found[name] = path.read_text().replace(str(out), "OUT")
        elif name == "_xlm/plan.parquet":  # shards that an earlier run planned come first
            plan = pq.read_table(path).to_pylist()
            found[name] = {shard["shard"]: shard for shard in plan}
        elif name in ("_xlm/report.html", "_SUCCESS"):
            found[name] = True
        elif path.parent.name == "reports":
            continue  # of earlier runs, which are more after a fault
        elif name != "_xlm/lock" and (path.parent.name != "ledger" or path.suffix != ".parquet"):
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    untimed = {
        record.shard: {key: value for key, value in record.to_row().items() if not key.endswith("_s")}
        for record in Output(locate(str(out))).ledger.load()
    }
    return found | {"ledger": untimed}


@cache
def read_contents_once(out: Path) -> dict[str, object]:
    """Read the contents of an output that does not change any more."""
    return read_contents(out)


def find_differences(found: dict[str, object], expected: dict[str, object]) -> list[str]:
    """Name the files that are missing, unexpected or different."""
    names = sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))
    return [f"{name} is {'missing' if name not in found else 'not the same as without faults'}" for name in names]


def count_rows(out: Path, *, rejected: bool = True) -> Counter[str]:
    """Count how often each id occurs in an output, as any reader of Parquet datasets finds it."""
    found: Counter[str] = Counter()
    for folder in (out / "data", out / "_xlm" / "rejected") if rejected else (out / "data",):
        if folder.exists() and (dataset := ds.dataset(folder, format="parquet")).files:
            found.update(dataset.to_table(columns=["id"])["id"].to_pylist())
    return found
