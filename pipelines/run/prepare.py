"""Everything about a job that can be known before Ray starts: checked, and made into what the stages need."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.checkpoints.cache import PinnedCheckpoint, local_checkpoint, named_as, pin_checkpoint
from pipelines.checkpoints.loading import load_model, load_tokenizer, read_tokenizer
from pipelines.corpus.plan import make_plan
from pipelines.errors import FatalError
from pipelines.job.fingerprint import build_fingerprint, fingerprint_digest
from pipelines.job.job import FillMask, MultipleChoice, TextGeneration
from pipelines.rows.schemas import RowColumns, output_schema, read_schema, result_schema, token_schema
from pipelines.stages.infer import InferSettings
from pipelines.stages.read import Reader
from pipelines.stages.time_limit import ShardLimit
from pipelines.stages.tokenize import TokenizeSettings
from pipelines.stages.write import Writer
from pipelines.storage import locate
from pipelines.tasks.make_task import make_task
from xlm_core import check_checkpoint, trunk_hash

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa

    from pipelines.corpus.plan import Plan
    from pipelines.job.job import Job
    from pipelines.stages.pools import Pools
    from pipelines.storage import Location
    from pipelines.tasks.task import Task
    from xlm_core import XLMConfig, XLMTokenizer


@dataclass(frozen=True)
class Prepared:
    """A job that can run.

    Attributes:
        job: as it was specified.
        plan: the corpus's shards.
        output: the directory of results.
        checkpoint: the trunk's, with its content's hash.
        heads: of each task, the checkpoint with its head.
        tasks: checked, without weights.
        fingerprint: all that can change a result; two runs with equal ones may share an output.
        read_schema, token_schema, result_schema, output_schema: of the rows that each stage hands on, and as written.
    """

    job: Job
    plan: Plan
    output: Location
    checkpoint: PinnedCheckpoint
    heads: list[PinnedCheckpoint]
    tasks: list[Task]
    fingerprint: dict[str, Any]
    read_schema: pa.Schema
    token_schema: pa.Schema
    result_schema: pa.Schema
    output_schema: pa.Schema

    @property
    def description(self) -> dict[str, Any]:
        """What `job.json` says of the job: its settings in full, and what its results depend on."""
        metadata = {key.decode(): value.decode() for key, value in self.output_schema.metadata.items()}
        described: dict[str, Any] = {
            "spec": self.job.model_dump(mode="json"),
            "fingerprint": self.fingerprint,
            "metadata": metadata,
            "columns": {field.name: str(field.type) for field in self.output_schema},
        }
        if self.checkpoint.revision is not None:
            described["revision"] = self.checkpoint.revision
        return described

    def reader(self) -> Reader:
        """Settings of the read stage."""
        return Reader(self.read_schema, self.plan.schema.names, self.job.input.filter, self.job.storage)

    @property
    def limit(self) -> ShardLimit:
        """How long a stage may work on a shard."""
        return ShardLimit(self.job.policy.shard_timeout_s, self.job.output.rows_per_shard)

    def tokenize(self, settled: dict[str, dict[int, tuple[str, str]]]) -> TokenizeSettings:
        """Settings of the tokenize stage."""
        job = self.job
        return TokenizeSettings(
            load=partial(load_tokenizer, job, self.checkpoint),
            input=job.input,
            tokenizer=job.tokenizer,
            policy=job.policy,
            mask_marker=next((task.mask for task in job.tasks if isinstance(task, FillMask)), None),
            has_choices=any(isinstance(task, MultipleChoice) for task in job.tasks),
            settled=settled,
            limit=self.limit,
            schema=self.token_schema,
        )

    def infer(self, pools: Pools) -> InferSettings:
        """Settings of the infer stage."""
        job = self.job
        return InferSettings(
            load=partial(load_model, job, self.checkpoint, self.heads, self.tasks),
            precision=job.model.precision,
            max_tokens=None if job.batch.max_tokens == "auto" else job.batch.max_tokens,
            on_gpu=pools.model_gpus > 0,
            num_threads=pools.model_threads,
            text_columns=job.input.text_columns,
            limit=self.limit,
            schema=self.result_schema,
        )

    def writer(self) -> Writer:
        """Settings of the write stage."""
        return Writer(self.output, self.output_schema, self.job.input.id)


def prepare(job: Job, tell: Callable[[str], None] = lambda _: None) -> Prepared:
    """Check a job against its corpus, checkpoint and heads, of which only headers are read; all are hashed.

    Args:
        job: as it was specified.
        tell: is told of what takes long.

    Raises:
        FatalError: the job cannot work as it is; the message says what to correct.
    """
    output = locate(job.output.path, job.storage)
    if output.url.startswith("memory://"):
        raise FatalError(
            f"output.path {output.url}: memory:// lives in one process, and workers are others; use another"
        )
    plan = make_plan(job.input, job.output.rows_per_shard, job.storage)
    _check_places(job, plan, output)
    checkpoint = pin_checkpoint(job.model.checkpoint, job.storage, tell)
    folder = local_checkpoint(checkpoint)
    with named_as(job.model.checkpoint, folder):
        config = _with_objective(job, check_checkpoint(folder, "trunk"))
        tokenizer = read_tokenizer(job, folder)
    if job.tokenizer.max_length > config.max_position_embeddings:
        raise FatalError(
            f"tokenizer.max_length is {job.tokenizer.max_length}, but {job.model.checkpoint} has positions for "
            f"{config.max_position_embeddings} tokens; set it to at most that"
        )
    too_high = max(tokenizer.vocab.values())
    if too_high >= config.vocab_size:
        raise FatalError(
            f"{job.model.checkpoint}: vocab.json goes up to id {too_high}, but the model has {config.vocab_size} "
            "embeddings; the two are not of one checkpoint"
        )
    if job.input.lang_column is None:
        _check_fixed_lang(job, tokenizer)
    heads, folders = _find_heads(job, checkpoint, folder, tell)
    texts = [plan.schema.field(name) for name in job.input.text_columns]
    tasks: list[Task] = []
    for spec, head, head_folder in zip(job.tasks, heads, folders, strict=True):
        with named_as(head.url, head_folder):
            tasks.append(make_task(spec, config, head_folder, texts, job.storage))
    _check_room(job, config)
    fields = [field for task in tasks for field in task.fields]
    segmented = {"zh", "th", "ja"}
    fingerprint = build_fingerprint(
        job,
        checkpoint_hash=checkpoint.content_hash,
        head_hashes=[None if head == checkpoint else head.content_hash for head in heads],
        result_fields=fields,
        segmenters=tokenizer.segmenters.describe(segmented & set(tokenizer.lang2id or segmented)),
        kytea_model_hash=_hash_file(job.tokenizer.kytea_model),
    )
    metadata = {
        "xlm:fingerprint": fingerprint_digest(fingerprint),
        "xlm:checkpoint": fingerprint["checkpoint"],
        "xlm:segmenters": json.dumps(fingerprint["segmenters"]),
        "xlm:version": importlib.metadata.version("xlm-batch"),
    }
    columns = RowColumns(
        corpus=plan.schema,
        id=job.input.id,
        keep=job.input.keep,
        text=job.input.text_columns,
        lang=job.input.lang_column,
        counts=job.output.count_columns,
        needs_offsets=any(task.needs_places for task in job.tasks),
    )
    return Prepared(
        job=job,
        plan=plan,
        output=output,
        checkpoint=checkpoint,
        heads=heads,
        tasks=tasks,
        fingerprint=fingerprint,
        read_schema=read_schema(columns),
        token_schema=token_schema(columns),
        result_schema=result_schema(columns, fields),
        output_schema=output_schema(columns, fields).with_metadata(metadata),
    )


def _hash_file(path: str | None) -> str | None:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest() if path and Path(path).is_file() else None


def _find_heads(
    job: Job, checkpoint: PinnedCheckpoint, folder: Path, tell: Callable[[str], None]
) -> tuple[list[PinnedCheckpoint], list[Path]]:
    """Pin the checkpoint with each task's head, each once, and find its directory on this node.

    Args:
        job: which tasks there are.
        checkpoint, folder: the trunk's, which holds the heads of tasks that name no other.
        tell: as for `prepare`.

    Raises:
        FatalError: a head's directory holds a trunk that is not the job's: its labels would have no meaning.
    """
    found = {job.model.checkpoint: (checkpoint, folder)}
    ours: str | None = None
    for task in job.tasks:
        url = task.head_url
        if url is None or url in found:
            continue
        try:
            pinned = pin_checkpoint(url, job.storage, tell)
        except FatalError as error:
            raise FatalError(f"{task.kind}: head {error}") from None
        head_folder = local_checkpoint(pinned)
        found[url] = pinned, head_folder
        with named_as(url, head_folder):
            theirs = trunk_hash(head_folder)
        if theirs is None:
            continue
        ours = ours or trunk_hash(folder)
        if theirs != ours:
            raise FatalError(
                f"{url}: this head was trained over another trunk than {job.model.checkpoint}; set model.checkpoint to "
                "the head's directory, or name a head of this checkpoint"
            )
    of_tasks = [found[task.head_url or job.model.checkpoint] for task in job.tasks]
    return [pinned for pinned, _ in of_tasks], [head_folder for _, head_folder in of_tasks]


def _check_room(job: Job, config: XLMConfig) -> None:
    """Refuse prompts so long that the text could not go on."""
    new = max((task.max_new_tokens for task in job.tasks if isinstance(task, TextGeneration)), default=0)
    room = config.max_position_embeddings - new + 1  # a prompt is fed without the mark of the end
    if new and job.tokenizer.max_length > room:
        shorter = f"set tokenizer.max_length to at most {room}, or " if room > 2 else ""
        raise FatalError(
            f"text-generation: rows of {job.tokenizer.max_length} tokens and {new} new ones are more than the "
            f"{config.max_position_embeddings} positions of {job.model.checkpoint}; {shorter}lower max_new_tokens"
        )


def _with_objective(job: Job, config: XLMConfig) -> XLMConfig:
    return config if job.model.objective == "checkpoint" else config.with_objective(job.model.objective)


def _check_fixed_lang(job: Job, tokenizer: XLMTokenizer) -> None:
    fixed = job.input.lang.fixed  # pyright: ignore[reportAttributeAccessIssue]
    lang = tokenizer.resolve_lang(fixed)
    if lang is None and job.policy.unknown_lang == "reject":
        known = ", ".join(sorted(tokenizer.lang2id))
        raise FatalError(f"input.lang: the checkpoint knows no language {fixed!r}; it knows {known}")
    if lang is not None:
        tokenizer.segmenters.prepare(lang)


def _check_places(job: Job, plan: Plan, output: Location) -> None:
    """Refuse an output within the input: the next run would read this one's results."""
    inside = f"{output.url.rstrip('/')}/"
    paths = [job.input.path] if isinstance(job.input.path, str) else job.input.path
    folders = [f"{locate(path, job.storage).url.rstrip('/')}/" for path in paths]
    if any(inside.startswith(folder) for folder in folders) or any(
        file.startswith(inside) for file in plan.shards["file"].unique().to_pylist()
    ):
        raise FatalError(
            f"output.path {output.url}: lies within input.path, and would be read as input; set it elsewhere"
        )
