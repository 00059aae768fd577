"""Jobs over the demo's sentences, and the command line, called in this process."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from tests.command_line import xlm

__all__ = ["xlm"]

Row = dict[str, Any]


@pytest.fixture(scope="session")
def rows(corpus: list[Row]) -> list[Row]:
    """Return 100 sentences in five languages, with their words and two other sentences."""
    picked = [row for row in corpus if row["lang"] in ("de", "en", "fr", "ru", "sw")]
    others = zip(picked, picked[1:] + picked, picked[2:] + picked, strict=False)
    return [a | {"words": a["text"].split(), "second": b["text"], "third": c["text"]} for a, b, c in others]


@pytest.fixture
def heads(checkpoints: Path, tmp_path: Path) -> Path:
    """Copy the heads, which tests change."""
    return shutil.copytree(checkpoints / "heads", tmp_path / "heads")


@pytest.fixture
def write_job(demo: Path, checkpoints: Path, rows: list[Row], tmp_path: Path) -> Callable[..., str]:
    """Write a job file over the sentences, and return its path."""

    def write(task: Any, text: Any = "text", **changes: Any) -> str:
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / "in.parquet")
        spec = yaml.safe_load((demo / "small.yaml").read_text(encoding="utf-8"))
        spec["input"] = {"path": str(tmp_path / "in.parquet"), "id": "id", "text": text, "lang": "lang"}
        spec["model"] = {"checkpoint": str(checkpoints / "lm")}
        spec["tasks"] = task if isinstance(task, list) else [task]
        number = len(list(tmp_path.glob("job-*.yaml")))
        spec["output"] = {"path": str(tmp_path / f"out-{number}"), "rows_per_shard": 30}
        path = tmp_path / f"job-{number}.yaml"
        path.write_text(yaml.safe_dump(spec | changes), encoding="utf-8")
        return str(path)

    return write
