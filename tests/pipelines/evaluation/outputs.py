"""Outputs with any results, written without a model."""

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.evaluation import Evaluation, GoldOptions, evaluate, read_scored_output
from pipelines.job import Job
from pipelines.output import REJECTED_FILE, Output, encode_schema, part_bytes, part_name
from pipelines.results import list_of, required
from pipelines.storage import locate
from tests.pipelines.output.shard_records import make_record
from tests.scale.synthetic import make_plan

_numbers = itertools.count()

SPAN = list_of(
    pa.struct(
        [
            pa.field("label", pa.string()),
            pa.field("score", pa.float32()),
            required("start", pa.int32()),
            required("end", pa.int32()),
            required("text", pa.string()),
        ]
    )
)
ANSWERS = list_of(
    pa.struct([required("text", pa.string()), required("score", pa.float32()), required("start", pa.int32())])
)


def labelled(name: str, data_type: pa.DataType, labels: list[str]) -> pa.Field:
    return pa.field(name, data_type, metadata={"labels": json.dumps(labels)})


def write_output(
    folder: Path,
    task: Any,
    rows: list[dict[str, Any]],
    fields: list[pa.Field],
    *,
    rows_per_part: int = 1000,
    keep_lang: bool = True,
    rejected: list[dict[str, Any]] | None = None,
) -> str:
    """Write an output of a job with an id column, whose rows have the columns id, lang and those of `fields`."""
    out = folder / f"out-{next(_numbers)}"
    tasks = task if isinstance(task, list) else [task]
    spec = {
        "input": {"path": str(folder), "id": "id", "text": ["text", "text2"], "lang": "lang"},
        "model": {"checkpoint": str(folder)},
        "tasks": tasks,
        "output": {"path": str(out)},
    }
    spec["input"]["keep"] = ["lang"] if keep_lang else []
    job = Job.model_validate(spec)
    langs = [pa.field("lang", pa.string())] if keep_lang else []
    schema = pa.schema([pa.field("id", pa.string()), *langs, *fields])
    parts = [rows[i : i + rows_per_part] for i in range(0, len(rows), rows_per_part)]
    output = Output(locate(str(out)))
    description = {"spec": job.model_dump(mode="json"), "fingerprint": {}, "segmenters": {}, "metadata": {}}
    output.begin(description | {"schema": encode_schema(schema)}, make_plan(len(parts)).to_table())
    records = []
    for number, part in enumerate(parts):
        lost = rejected if rejected and number == 0 else []
        record = make_record(number, rows_out=len(part), rows_rejected=len(lost))
        table = pa.Table.from_pylist([{name: row[name] for name in schema.names} for row in part], schema)
        (output.parts / part_name(record.shard)).put(part_bytes(table))
        if lost:
            table = pa.Table.from_pylist(lost, REJECTED_FILE)
            (output.rejected / part_name(record.shard)).put(part_bytes(table))
        records.append(record)
    output.ledger.append(records)
    return str(out)


def write_gold(folder: Path, rows: list[dict[str, Any]], schema: pa.Schema | None = None) -> str:
    path = folder / f"gold-{next(_numbers)}.parquet"
    pq.write_table(pa.Table.from_pylist(rows, schema), path)
    return str(path)


def evaluate_files(out: str, gold: str | None, **options: Any) -> Evaluation:
    return evaluate(read_scored_output(out, GoldOptions(gold, **options)))


def metrics(evaluation: Evaluation, lang: str | None = None) -> dict[str, float]:
    """Return the metrics of all rows, or of a language, by name."""
    scores = evaluation.total if lang is None else evaluation.langs[lang]
    names = [metric.name for metric in evaluation.scored.measure.metrics]
    return {name: estimate.value for name, estimate in zip(names, scores.metrics, strict=True)}


def random_ids(rng: np.random.Generator, number: int) -> list[str]:
    return [f"row-{i}" for i in rng.permutation(number)]
