"""The output directory: parts, ledger, lock, and how a run resumes."""

from pipelines.output.directory import Output, find_differences
from pipelines.output.layout import BOOKKEEPING, DATA, JOB_FILE, PLAN_FILE, RUN_FILE, SUCCESS, is_part_name, part_name
from pipelines.output.ledger import COMMITTED, Records, ReplacedError, Totals, retry_if_replaced
from pipelines.output.lock import Holder, Lock, find_holder
from pipelines.output.orphans import Orphan, find_orphans
from pipelines.output.parts import (
    REJECTED_FILE,
    decode_schema,
    digest_ids,
    encode_schema,
    id_keys,
    is_as_written,
    part_bytes,
    sha256,
)
from pipelines.output.rejection_limit import describe_too_many_rejected, list_counts, sufficient_limit
from pipelines.output.resume import OutputState, check_parts, compare_with_plan, remove_stale_parts
from pipelines.output.shard_record import SECONDS, SHARD_COUNTS, ShardRecord, ShardResult

__all__ = [
    "BOOKKEEPING",
    "COMMITTED",
    "DATA",
    "JOB_FILE",
    "PLAN_FILE",
    "REJECTED_FILE",
    "RUN_FILE",
    "SECONDS",
    "SHARD_COUNTS",
    "SUCCESS",
    "Holder",
    "Lock",
    "Orphan",
    "Output",
    "OutputState",
    "Records",
    "ReplacedError",
    "ShardRecord",
    "ShardResult",
    "Totals",
    "check_parts",
    "compare_with_plan",
    "decode_schema",
    "describe_too_many_rejected",
    "digest_ids",
    "encode_schema",
    "find_differences",
    "find_holder",
    "find_orphans",
    "id_keys",
    "is_as_written",
    "is_part_name",
    "list_counts",
    "part_bytes",
    "part_name",
    "remove_stale_parts",
    "retry_if_replaced",
    "sha256",
    "sufficient_limit",
]
