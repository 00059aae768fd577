"""Build the report of a run: totals over all committed shards, failed shards, and the speed of the last run.

All functions are pure; nothing is read or written here.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute

from pipelines.formatting import format_time
from pipelines.job import PolicySettings
from pipelines.output import DATA, describe_too_many_rejected
from pipelines.report.timeline import OPTIONAL_STAGES, STAGES, Timeline

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pipelines.output import Totals

pc: Any = pyarrow.compute  # its functions are generated at import, so type checkers do not know them

# A failing store fails every shard with the same error, so the first errors are enough and the page stays small.
_MAX_ERRORS = 50


@dataclass(frozen=True)
class RunRecord:
    """What one run did.

    Attributes:
        started_s, ended_s: when it began and ended to compute, in seconds since the epoch.
        tokens: tokens that it fed to the model.
        timeline: its speed over time.
        workers: number of workers of the stages that have a pool; empty if it computed nothing.
        rows_failed: rows of its failed shards.
    """

    started_s: float
    ended_s: float
    tokens: int = 0
    timeline: Timeline = field(default_factory=Timeline)
    workers: Mapping[str, int] = field(default_factory=dict[str, int])
    rows_failed: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return the values of the report, with the speed and the share of the time in which workers were busy."""
        elapsed_s, timeline = self.ended_s - self.started_s, self.timeline.to_json()
        has_speed = self.tokens > 0 and elapsed_s > 0
        return {
            "started": format_time(self.started_s),
            "ended": format_time(self.ended_s),
            "elapsed_s": round(elapsed_s, 3),
            "tokens": self.tokens,
            "tokens_per_s": round(self.tokens / elapsed_s, 1) if has_speed else None,
            "timeline": timeline,
            "workers": dict(self.workers),
            "busy": _busy_shares(timeline, self.workers, elapsed_s),
        }


def build_report(
    job: dict[str, Any],
    plan_rows: int,
    totals: Totals,
    failed: Mapping[str, str],
    run: RunRecord,
    status: str,
    *,
    rows_pruned: int = 0,
    statistics: dict[str, Any] | None = None,
    shards: pa.Table | None = None,
) -> dict[str, Any]:
    """Build the report of a job and its last run.

    Args:
        job: the contents of `job.json`: the resolved settings as `spec`, the fingerprint, and provenance.
        plan_rows: rows of the planned shards, before the filter.
        totals: of the records of all committed shards, including those of earlier runs.
        failed: the error of each shard that failed in this run.
        run: what this run did.
        status: how it ended, as in `Commits.status`.
        rows_pruned: rows that were not read, because statistics show that the filter drops them.
        statistics: of the results, as `summarize` returns them; None if there are none.
        shards: the plan, which contains the files and rows of failed shards; None if they are not shown.

    Returns:
        JSON values, which `summary_lines` and `render_html` display.
    """
    counts = totals.counts
    num_left = plan_rows - counts["rows_read"]
    policy = PolicySettings.model_validate(job["spec"]["policy"])
    return {
        "status": status,
        "too_many_rejected": describe_too_many_rejected(totals, policy, num_left - run.rows_failed),
        "name": job["spec"]["name"],
        "data": f"{job['spec']['output']['path'].rstrip('/')}/{DATA}",
        "totals": {
            "shards": totals.num_shards,
            "failed_shards": len(failed),
            "rows_corpus": plan_rows + rows_pruned,
            "rows_left": num_left,
            "rows_filtered": counts["rows_read"] - counts["rows_in"] + rows_pruned,
            "rows_pruned": rows_pruned,
            **counts,
        },
        "reasons": totals.reasons,
        "rejected_langs": totals.rejected_langs,
        "langs": [asdict(lang) | {"lengths": list(lang.lengths)} for lang in totals.langs],
        "stage_seconds": {
            stage: round(seconds, 3)
            for stage in STAGES
            if (seconds := totals.seconds[f"{stage}_s"]) or stage not in OPTIONAL_STAGES
        },
        "run": run.to_json(),
        "statistics": statistics,
        "failed": _describe_failed(sorted(failed.items())[:_MAX_ERRORS], shards),
        "failed_not_shown": max(0, len(failed) - _MAX_ERRORS),
        "slowest": [
            {
                "shard": shard["shard"],
                "file": shard["file"],
                "num_files": shard["num_files"],
                "rows": shard["rows_in"],
                "tokens": shard["tokens"],
                "seconds": round(shard["seconds"], 3),
            }
            for shard in totals.slowest
        ],
        "settings": job["spec"],
        "provenance": {key: value for key, value in job.items() if key != "spec"},
    }


def _describe_failed(failed: Sequence[tuple[str, str]], shards: pa.Table | None) -> list[dict[str, Any]]:
    """Return the id and error of failed shards and, with the plan, their file, and first and last row in the file."""
    described: list[dict[str, Any]] = [{"shard": shard, "error": error} for shard, error in failed]
    if shards is None or not failed:
        return described
    ids = pa.array([shard for shard, _ in failed], pa.string())
    found = shards.filter(pc.is_in(shards["shard"], value_set=ids))
    planned = {row["shard"]: row["members"] for row in found.select(["shard", "members"]).to_pylist()}
    for shard in described:
        if (members := planned.get(shard["shard"])) is not None:
            first, last = members[0], members[-1]
            shard |= {"file": first["file"], "num_files": len({member["file"] for member in members})}
            if shard["num_files"] == 1:
                shard["rows"] = [first["file_row"], last["file_row"] + last["num_rows"] - 1]
    return described


def _busy_shares(timeline: dict[str, Any], workers: Mapping[str, int], elapsed_s: float) -> dict[str, float]:
    """Return the share of the run's time in which the workers of each pool were busy, the largest share first."""
    if elapsed_s <= 0:
        return {}
    shares = {stage: sum(timeline[f"{stage}_s"]) / (number * elapsed_s) for stage, number in workers.items()}
    return {stage: round(min(share, 1.0), 4) for stage, share in sorted(shares.items(), key=lambda item: -item[1])}
