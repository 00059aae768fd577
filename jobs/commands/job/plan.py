"""`xlm plan`: list the input files of a job and their shards, and estimate how long the job takes."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.text import Text

from jobs.commands.job.lang_table import lang_table
from jobs.console import print_json
from pipelines.corpus import planned_shards
from pipelines.formatting import format_count, format_duration, format_kept, format_size, one_line
from pipelines.output import list_counts
from pipelines.report import describe_bottleneck

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from pipelines.corpus import Plan
    from pipelines.job import Job
    from pipelines.run import Estimate

_MAX_LANGS = 20
_MAX_REJECTED = 5


class Cluster(NamedTuple):
    """The resources for which to estimate; None for those of this machine. The speed is that of a GPU."""

    cpus: int | None
    gpus: int | None
    tflops: float | None


def print_plan(
    job: Job, console: Console, limit: int, cluster: Cluster | None = None, *, as_json: bool = False
) -> None:
    """Print the number of shards and rows and the size of each input file, the totals, and an estimate.

    Args:
        job: the job.
        console: where to print.
        limit: maximum number of files to list; the totals are those of all files.
        cluster: for which resources to estimate how long the job takes; None for no estimate.
        as_json: print JSON instead of text.
    """
    from pipelines.run import estimate_job, prepare_job  # they import what reads checkpoints

    with console.status("planning"):
        prepared = prepare_job(job)
    plan, estimate = prepared.plan, None
    if cluster is not None:
        with console.status("computing a sample"):
            estimate = estimate_job(prepared, *cluster)
    num_dropped = None
    if estimate is not None and estimate.rows_dropped is not None:
        num_dropped = estimate.rows_dropped + plan.pruned.num_rows
    elif job.input.filter is None:
        num_dropped = 0
    files: dict[str, list[int]] = {}  # num_shards, num_rows and size_bytes
    for shard in planned_shards(plan.shards):
        for file in dict.fromkeys(member.file for member in shard.members):
            files.setdefault(file, [0, 0, 0])[0] += 1
        for member in shard.members:
            files[member.file][1] += member.num_rows
            files[member.file][2] = member.size_bytes
    price = job.compute.price_per_hour
    if as_json:
        estimated = {"estimate": _estimate_to_json(estimate, price)} if estimate else {}
        print_json(_to_json(plan, files, limit, num_dropped) | estimated)
        return
    _print_files(plan, files, limit, console, num_dropped)
    if estimate is not None:
        _print_estimate(estimate, len(plan.shards), price, console)


def _to_json(plan: Plan, files: dict[str, list[int]], limit: int, num_dropped: int | None) -> dict[str, Any]:
    names = ("shards", "rows", "size_bytes")
    listed = list(files.items())[:limit]
    return {
        "rows": plan.num_corpus_rows,
        "rows_dropped": num_dropped,
        "shards": len(plan.shards),
        "num_files": len(files),
        "files": [{"file": file, **dict(zip(names, counts, strict=True))} for file, counts in listed],
        "pruned": {"rows": plan.pruned.num_rows, "row_groups": plan.pruned.num_row_groups},
        "notes": plan.corpus.notes,
    }


def _print_files(
    plan: Plan, files: dict[str, list[int]], limit: int, console: Console, num_dropped: int | None
) -> None:
    # File names are long, and are printed whole: a table would cut them, and drop the numbers, at the terminal's width.
    console.print(f"{'shards':>6}  {'rows':>11}  {'size':>11}  file", style="bold")
    for file, (num_shards, num_rows, size_bytes) in list(files.items())[:limit]:
        line = f"{num_shards:>6,}  {num_rows:>11,}  {format_size(size_bytes):>11}  {one_line(file)}"
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    if len(files) > limit:
        console.print(f"… and {format_count(len(files) - limit, 'more file')} (--limit)", highlight=False)
    num_kept = None if num_dropped is None else plan.num_corpus_rows - num_dropped
    rows, shards = format_kept(num_kept, plan.num_rows, plan.num_corpus_rows), format_count(len(plan.shards), "shard")
    totals = f"{rows} of {format_count(len(files), 'file')} in {shards}"
    console.print(totals, highlight=False, style="bold")
    if plan.pruned.num_rows:
        pruned = format_count(plan.pruned.num_rows, "row")
        groups = format_count(plan.pruned.num_row_groups, "row group")
        console.print(f"not read: {pruned} of {groups} that input.filter drops, by their statistics", highlight=False)
    for note in plan.corpus.notes:
        console.print(note, highlight=False, markup=False)


def _print_estimate(estimate: Estimate, num_shards: int, price: float | None, console: Console) -> None:
    table = lang_table(estimate.langs[:_MAX_LANGS], with_tokens=True)
    if others := estimate.langs[_MAX_LANGS:]:
        table.add_row(
            Text(f"… and {format_count(len(others), 'other')}", "dim"), f"{sum(lang.rows for lang in others):,}"
        )
    console.print()
    console.print(table)
    pools = estimate.pools
    device = f"with {format_count(pools.model_gpus, 'GPU')} each" if pools.model_gpus else "on the CPU"
    source = "computed from the speed of the GPU" if estimate.is_gpu_assumed else "measured"
    sample = f"{format_count(estimate.num_sampled, 'row')} in {estimate.num_sampled_shards:,} of {num_shards:,} shards"
    identifier_rate = estimate.identifier_rate and f"{estimate.identifier_rate:,.0f} tokens/s each"
    identifiers = f"identifiers: {pools.tokenizers} at {identifier_rate}; " if identifier_rate else ""
    missing = "" if estimate.are_langs_counted else "; other rows may have other languages"
    lines = [
        f"{'tokens ' if estimate.are_langs_counted else ''}estimated from a sample of {sample}{missing}",
        *_describe_rejected(estimate.rejected),
        f"rows per shard: {' to '.join(format(rows, ',') for rows in dict.fromkeys(estimate.shard_rows))}",
        f"{identifiers}tokenizers: {pools.tokenizers} at {estimate.tokenizer_rate:,.0f} tokens/s each; models: "
        f"{pools.models} {device} at {estimate.model_rate:,.0f} tokens/s each ({source})",
        f"expected time: {format_duration(estimate.total_s)} for {format_count(estimate.tokens, 'token')}",
        describe_bottleneck(estimate.busy, pools.sizes),
    ]
    if price is not None:
        lines.append(f"expected cost: {_cost(estimate, price):,.2f} at {price:,g} per hour")
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _describe_rejected(rejected: dict[str, int]) -> Iterator[str]:
    if rejected:
        rows = format_count(sum(rejected.values()), "other row")
        yield f"{rows} will be rejected for their language: {list_counts(rejected, _MAX_REJECTED)}"


def _cost(estimate: Estimate, price: float) -> float:
    return price * estimate.total_s / 3600


def _estimate_to_json(estimate: Estimate, price: float | None) -> dict[str, Any]:
    values: dict[str, Any] = {**asdict(estimate), "tokens": estimate.tokens, "busy": estimate.busy}
    for lang in values["langs"]:
        lang.pop("lengths")
    return values | {"cost": None if price is None else _cost(estimate, price)}
