"""The names of all files below an output directory."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

# Readers of datasets read every file of a directory (DuckDB, Polars), or all but hidden ones (Spark, Arrow). So the
# parts have a directory to themselves.
DATA = "data"

BOOKKEEPING = "_xlm"
SUCCESS = "_SUCCESS"

# Below BOOKKEEPING.
JOB_FILE = "job.json"
PLAN_FILE = "plan.parquet"
RUN_FILE = "run.json"  # see `pipelines.status`
REPORT_JSON = "report.json"
REPORT_HTML = "report.html"
REPORTS = "reports"  # the REPORT_JSON of earlier runs
LEDGER = "ledger"
REJECTED = "rejected"
TEMPORARY = "tmp"  # parts while they are written
LOCAL_LOCK = "lock"

# The form of the ids that `derive_ids` returns. An id becomes part of a file name, so any other form is refused.
SHARD_ID = re.compile(r"[0-9a-f]{16}-[0-9]{1,18}-[0-9]{1,18}")

RENEWED_LOCK = re.compile(r"lock-[0-9a-f]{16}\.json")
PART = re.compile(rf"part-({SHARD_ID.pattern})\.parquet")

# The same, as paths below the output directory.
PART_PATH = re.compile(rf"({DATA}|{BOOKKEEPING}/{REJECTED})/{PART.pattern}")
_METADATA_FILES = "|".join(map(re.escape, (JOB_FILE, PLAN_FILE, RUN_FILE, REPORT_JSON, REPORT_HTML, LOCAL_LOCK)))
METADATA_PATH = re.compile(
    rf"{SUCCESS}|{BOOKKEEPING}/(?:{_METADATA_FILES}|{RENEWED_LOCK.pattern}"
    rf"|{LEDGER}/[0-9]{{20}}-[0-9a-f]{{8}}\.parquet|{REPORTS}/[0-9TZ-]+\.json)"
)


def part_name(shard: str) -> str:
    """Return the file name of a shard's part. It depends only on the shard, so writing a part again replaces it."""
    return f"part-{shard}.parquet"


def is_part_name(name: str) -> bool:
    """Whether a file name is that of a part."""
    return PART.fullmatch(name) is not None


def lock_name(token: str) -> str:
    """Return the file name of a renewed lock; `token` is 16 hexadecimal digits."""
    return f"lock-{token}.json"


def ledger_file_name(time_ns: int, token: str) -> str:
    """Return the name of a ledger file. Names sort by time; `token`, 8 hexadecimal digits, makes them unique."""
    return f"{time_ns:020d}-{token}.parquet"


def old_report_name(ended: datetime) -> str:
    """Return the name in `REPORTS` of the report of a run that ended at a time, in UTC. Names sort by time."""
    return f"{ended:%Y-%m-%dT%H-%M-%SZ}.json"
