"""Rows of tables, and what a job reads of them."""

import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipelines.corpus.cut_shards import ShardLimits
from pipelines.corpus.member_reader import MemberReader
from pipelines.corpus.plan import Plan
from pipelines.corpus.planned_shard import planned_shards
from pipelines.job import InputSettings
from tests.plans import make_plan

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
    return make_plan(InputSettings.model_validate(spec | settings), ShardLimits(10), stores)


def rows_of(plan: Plan, stores: Any = ()) -> pa.Table:
    with MemberReader(plan.schema.names, stores) as reader:
        tables = [
            reader.read(member).select(plan.schema.names).cast(plan.schema)
            for shard in planned_shards(plan.shards)
            for member in shard.members
        ]
    return pa.concat_tables(tables).sort_by("id")


def ids_of(plan: Plan, stores: Any = ()) -> list[str]:
    return rows_of(plan, stores)["id"].to_pylist()
