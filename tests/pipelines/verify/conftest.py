"""Two outputs of the real stages, with every task whose results are verified, and copies of them to damage."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.job.job import Job
from tests.pipelines.verify.output_copy import OutputCopy, copy_output, write_output

Row = dict[str, Any]


@pytest.fixture(scope="session")
def outputs(checkpoints: Path, corpus: list[Row], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two finished outputs of several shards: texts with an id and a filter, and pairs with neither."""
    rows = [row for row in corpus if row["lang"] != "ja"][::7][:44]
    texts = [row | {"year": 2000 + i % 3} for i, row in enumerate(rows)]
    for number, text in ((3, None), (4, ""), (20, None)):
        texts[number]["text"] = text
    texts[35]["id"] = texts[34]["id"]
    pairs = [{"lang": r["lang"], "question": r["text"].split()[:4], "context": f"{r['text']} " * 3} for r in rows[:12]]
    pairs[5]["context"] = None
    tag, head = str(checkpoints / "heads" / "tags"), str(checkpoints / "heads" / "topic")
    specs: dict[str, Row] = {
        "texts": {
            "input": {"id": "id", "text": "text", "lang": "lang", "filter": "year > 2000", "keep": ["lang"]},
            "tasks": [
                "feature-extraction",
                {"feature-extraction": {"prefix": "w_", "windows": "each", "dtype": "float16"}},
                {"token-classification": {"head": tag}},
                {"token-classification": {"head": tag, "aggregate": "entity"}},
                {"text-classification": {"head": head, "scores": True}},
                "lm-scoring",
            ],
        },
        "pairs": {
            "input": {"text": ["question", "context"], "lang": "lang"},
            "tasks": [
                {"question-answering": {"head": str(checkpoints / "heads" / "spans"), "top_k": 3}},
                {"token-classification": {"head": tag}},
                {"feature-extraction": {"normalize": False, "truncate_dim": 8}},
            ],
        },
    }
    folders: dict[str, Path] = {}
    for (name, spec), table in zip(specs.items(), (texts, pairs), strict=True):
        folder = tmp_path_factory.mktemp(name)
        (folder / "in").mkdir()
        half = len(table) // 2
        for number, some in enumerate((table[:half], table[half:])):
            pq.write_table(pa.Table.from_pylist(some), folder / "in" / f"{number}.parquet", row_group_size=16)
        spec["input"]["path"] = str(folder / "in")
        spec |= {
            "model": {"checkpoint": str(checkpoints / "lm")},
            "tokenizer": {"max_length": 24, "on_overflow": "window", "overlap_tokens": 4},
            "output": {"path": str(folder / "out"), "rows_per_shard": 8},
            "policy": {"duplicate_ids": "reject"},
        }
        write_output(Job.model_validate(spec))
        folders[name] = folder
    return folders


@pytest.fixture
def texts(outputs: dict[str, Path], tmp_path: Path) -> OutputCopy:
    return copy_output(outputs["texts"], tmp_path / "copy")


@pytest.fixture
def pairs(outputs: dict[str, Path], tmp_path: Path) -> OutputCopy:
    return copy_output(outputs["pairs"], tmp_path / "copy")


@pytest.fixture
def moved_input(outputs: dict[str, Path]) -> Iterator[Path]:
    """The first input file of `texts`, which is renamed to `.away` for the length of a test."""
    source = outputs["texts"] / "in" / "0.parquet"
    backup = source.rename(source.with_suffix(".away"))
    yield source
    backup.replace(source)
