"""A run of MLflow as the files of its file store, written without its package.

MLflow no longer changes the form of this store. It opens it with MLFLOW_ALLOW_FILE_STORE=true, and `mlflow
migrate-filestore` copies it to a database.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

import yaml

from pipelines.report import to_yaml

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pipelines.storage import Location
    from pipelines.train.reporting.scalars import Scalar

_STATUS = {"running": 1, "complete": 3, "failed": 4, "interrupted": 5}  # RunStatus of MLflow
_LOCAL_SOURCE = 4  # SourceType of MLflow
_MAX_NAME_CHARS, _MAX_VALUE_CHARS = 200, 6_000  # of a parameter
_UNSAFE = re.compile(r"[^A-Za-z0-9_.-]")  # in its name, which is that of a file


def mlflow_files(
    report: Mapping[str, Any], scalars: Iterable[Scalar], folder: Location, identity: str
) -> dict[str, bytes]:
    """Return the contents of all files by their paths: an experiment with one run.

    Args:
        report: see `build_report`.
        scalars: the curves; those of held out rows have names with "dev".
        folder: where the files are written.
        identity: from which the ids of the experiment and the run are derived.
    """
    digest = hashlib.sha256(identity.encode()).hexdigest()
    experiment, run = str(int(digest[:14], 16)), digest[32:64]
    url = f"file://{folder.url}" if folder.is_local else folder.url
    start, end = (int(datetime.fromisoformat(report[name]).timestamp() * 1000) for name in ("started", "updated"))
    files = {
        "meta.yaml": _yaml(
            artifact_location=f"{url}/{experiment}",
            creation_time=start,
            experiment_id=experiment,
            last_update_time=start,
            lifecycle_stage="active",
            name=report["name"],
        ),
        f"{run}/meta.yaml": _yaml(
            artifact_uri=f"{url}/{experiment}/{run}/artifacts",
            end_time=None if report["status"] == "running" else end,
            entry_point_name="",
            experiment_id=experiment,
            lifecycle_stage="active",
            run_id=run,
            run_name=report["name"],
            source_name="",
            source_type=_LOCAL_SOURCE,
            source_version="",
            start_time=start,
            status=_STATUS[report["status"]],
            tags=[],
            user_id="",
        ),
        f"{run}/tags/mlflow.runName": report["name"].encode(),
        f"{run}/artifacts/job.yaml": to_yaml(report["settings"]).encode(),  # MLflow requires the directory
    }
    for name, value in _flatten(report["settings"]):
        files[f"{run}/params/{_UNSAFE.sub('_', name)[:_MAX_NAME_CHARS]}"] = str(value)[:_MAX_VALUE_CHARS].encode()
    lines: dict[str, list[str]] = defaultdict(list)
    for scalar in scalars:
        name = scalar.name if scalar.run == "train" else f"dev_{scalar.name}"
        lines[name].append(f"{int(scalar.time_s * 1000)} {scalar.value} {scalar.step}\n")
    files |= {f"{run}/metrics/{name}": "".join(values).encode() for name, values in lines.items()}
    return {f"{experiment}/{path}": content for path, content in files.items()}


def _flatten(value: object, path: str = "") -> Iterator[tuple[str, object]]:
    """Yield the names and values of settings, except those that are not set."""
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            yield from _flatten(item, f"{path}.{key}" if path else str(key))
    elif value is not None:
        yield path, value


def _yaml(**values: object) -> bytes:
    return yaml.safe_dump(values).encode()
