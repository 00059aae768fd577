"""Rows of tables, and what a job reads of them."""

import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipelines.corpus.plan import Plan, make_plan
from pipelines.corpus.planned_shard import planned_shards
from pipelines.corpus.row_groups import read_row_group
from pipelines.job import InputSettings
from pipelines.storage import locate

ROWS = pa.table(
    {
        "id": ["a", "b", "c"],
        "text": ["some text", "more text", "other text"],
        "lang": ["de", "en", "d/e %"],
        "day": [datetime.date(2020, 1, 1), None, datetime.date(2021, 1, 1)],
    }
)
MORE = ROWS.set_column(0, "id", pa.array(["d", "e", "f"]))


def plan_of(path: Path | str | list[str], stores: Any = (), **settings: Any) -> Plan:
    spec = {"path": path if isinstance(path, list) else str(path), "text": "text", "lang": "lang", "id": "id"}
    return make_plan(InputSettings.model_validate(spec | settings), 10, stores)


def rows_of(plan: Plan, stores: Any = ()) -> pa.Table:
    tables = [
        read_row_group(locate(shard.file, stores), shard, plan.schema.names).select(plan.schema.names).cast(plan.schema)
        for shard in planned_shards(plan.shards)
    ]
    return pa.concat_tables(tables).sort_by("id")


def ids_of(plan: Plan, stores: Any = ()) -> list[str]:
    return rows_of(plan, stores)["id"].to_pylist()
