"""Everything about a job that can be known before Ray starts: checked, and made into what the stages need."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.columns import output_schema, read_schema, result_schema, token_schema
from pipelines.errors import FatalError
from pipelines.infer import InferSettings
from pipelines.plan import make_plan
from pipelines.read import Reader
from pipelines.storage import locate
from pipelines.tasks import Task, load_task
from pipelines.tokenize import TokenizeSettings
from pipelines.write import Writer
from xlm_core import XLMConfig, XLMModel, XLMTokenizer, check_checkpoint, content_hash, trunk_hash

if TYPE_CHECKING:
    import pyarrow as pa

    from pipelines.compute import Pools
    from pipelines.job import Job
    from pipelines.plan import Plan
    from pipelines.storage import Location

# Raised when the same settings give other results than before: a resumed output may not mix the two.
RESULT_FORMAT = 1


@dataclass(frozen=True)
class Prepared:
    """A job that can run.

    Attributes:
        job: as it was specified.
        plan: the corpus's shards.
        output: the directory of results.
        fingerprint: all that can change a result; two runs with equal ones may share an output.
        read_schema, token_schema, result_schema, output_schema: of the rows that each stage hands on, and as written.
        result_names: the columns that the tasks add.
    """

    job: Job
    plan: Plan
    output: Location
    fingerprint: dict[str, Any]
    read_schema: pa.Schema
    token_schema: pa.Schema
    result_schema: pa.Schema
    output_schema: pa.Schema
    result_names: list[str]

    @property
    def description(self) -> dict[str, Any]:
        """What `job.json` says of the job: its settings in full, and what its results depend on."""
        metadata = {key.decode(): value.decode() for key, value in self.output_schema.metadata.items()}
        return {"spec": self.job.model_dump(mode="json"), "fingerprint": self.fingerprint, "metadata": metadata}

    def reader(self) -> Reader:
        """Settings of the read stage."""
        return Reader(self.read_schema, self.plan.schema.names, self.job.input.filter)

    def tokenize(self, duplicates: dict[str, list[int]]) -> TokenizeSettings:
        """Settings of the tokenize stage."""
        job = self.job
        return TokenizeSettings(
            partial(_load_tokenizer, job), job.input, job.tokenizer, job.policy, duplicates, self.token_schema
        )

    def infer(self, pools: Pools) -> InferSettings:
        """Settings of the infer stage."""
        return InferSettings(
            load=partial(_load_model, self.job),
            precision=self.job.model.precision,
            max_tokens=None if self.job.batch.max_tokens == "auto" else self.job.batch.max_tokens,
            on_gpu=pools.model_gpus > 0,
            invariant=self.job.batch.invariant,
            num_threads=pools.model_threads,
            result_names=self.result_names,
            schema=self.result_schema,
        )

    def writer(self) -> Writer:
        """Settings of the write stage."""
        return Writer(self.output, self.output_schema, self.job.input.id)


def prepare(job: Job) -> Prepared:
    """Check a job against its corpus, checkpoint and heads, reading headers only.

    Raises:
        FatalError: the job cannot work as it is; the message says what to correct.
    """
    output = locate(job.output.path)
    if output.url.startswith("memory://"):
        raise FatalError(
            f"output.path {output.url}: memory:// lives in one process, and workers are others; use another"
        )
    plan = make_plan(job)
    _check_places(job, plan, output)
    config = check_checkpoint(_folder(job.model.checkpoint, "model.checkpoint"), "trunk")
    if job.tokenizer.max_length > config.max_position_embeddings:
        raise FatalError(
            f"tokenizer.max_length is {job.tokenizer.max_length}, but {job.model.checkpoint} has positions for "
            f"{config.max_position_embeddings} tokens; set it to at most that"
        )
    tokenizer = _load_tokenizer(job)
    too_high = max(tokenizer.vocab.values())
    if too_high >= config.vocab_size:
        raise FatalError(
            f"{job.model.checkpoint}: vocab.json goes up to id {too_high}, but the model has {config.vocab_size} "
            "embeddings; the two are not of one checkpoint"
        )
    if job.input.lang_column is None:
        _check_fixed_lang(job, tokenizer)
    tasks = _load_tasks(job, config)
    fields = [field for task in tasks for field in task.fields]
    fingerprint = _fingerprint(job, tokenizer)
    metadata = {
        "xlm:fingerprint": hashlib.sha256(json.dumps(fingerprint, sort_keys=True).encode()).hexdigest(),
        "xlm:checkpoint": fingerprint["checkpoint"],
        "xlm:segmenters": json.dumps(fingerprint["segmenters"]),
        "xlm:version": importlib.metadata.version("xlm-batch"),
    }
    return Prepared(
        job,
        plan,
        output,
        fingerprint,
        read_schema(job, plan.schema),
        token_schema(job, plan.schema),
        result_schema(job, plan.schema, fields),
        output_schema(job, plan.schema, fields).with_metadata(metadata),
        [field.name for field in fields],
    )


def _fingerprint(job: Job, tokenizer: XLMTokenizer) -> dict[str, Any]:
    heads = sorted({head for task in job.tasks if (head := getattr(task, "head", None)) is not None})
    _check_trunk(job, [head for head in heads if head != job.model.checkpoint])
    hashes = {head: content_hash(head) for head in heads}
    model = job.tokenizer.kytea_model
    return {
        "format": RESULT_FORMAT,
        **job.fingerprint_fields(),
        "checkpoint": content_hash(job.model.checkpoint),
        "heads": [hashes.get(getattr(task, "head", None)) for task in job.tasks],
        "segmenters": tokenizer.segmenters.describe({"zh", "th", "ja"} & set(tokenizer.lang2id or {"zh", "th", "ja"})),
        "kytea_model": hashlib.sha256(Path(model).read_bytes()).hexdigest()
        if model and Path(model).is_file()
        else None,
    }


def _check_fixed_lang(job: Job, tokenizer: XLMTokenizer) -> None:
    fixed = job.input.lang.fixed  # pyright: ignore[reportAttributeAccessIssue]
    lang = tokenizer.resolve_lang(fixed)
    if lang is None and job.policy.unknown_lang == "reject":
        known = ", ".join(sorted(tokenizer.lang2id))
        raise FatalError(f"input.lang: the checkpoint knows no language {fixed!r}; it knows {known}")
    if lang is not None:
        tokenizer.segmenters.prepare(lang)


def _folder(path: str, setting: str) -> str:
    if "://" in path:
        raise FatalError(f"{setting}: {path} is a URL; only directories of a file system are supported so far")
    return path


def _load_tokenizer(job: Job) -> XLMTokenizer:
    spec = job.tokenizer
    return XLMTokenizer.from_pretrained(
        job.model.checkpoint, zh=spec.zh, ja=spec.ja, kytea_model=spec.kytea_model, compat=spec.compat
    )


def _check_places(job: Job, plan: Plan, output: Location) -> None:
    """Refuse an output within the input: the next run would read this one's results."""
    inside = f"{output.url.rstrip('/')}/"
    paths = [job.input.path] if isinstance(job.input.path, str) else job.input.path
    folders = [f"{locate(path).url.rstrip('/')}/" for path in paths]
    if any(inside.startswith(folder) for folder in folders) or any(
        file.startswith(inside) for file in plan.shards["file"].unique().to_pylist()
    ):
        raise FatalError(
            f"output.path {output.url}: lies within input.path, and would be read as input; set it elsewhere"
        )


def _check_trunk(job: Job, heads: list[str]) -> None:
    """Refuse heads whose directory holds a trunk that is not the job's: they would give labels without meaning."""
    ours: str | None = None
    for head in heads:
        theirs = trunk_hash(head)
        ours = ours or (trunk_hash(job.model.checkpoint) if theirs is not None else None)
        if theirs is not None and theirs != ours:
            raise FatalError(
                f"{head}: this head was trained over another trunk than {job.model.checkpoint}; set model.checkpoint "
                "to the head's directory, or name a head of this checkpoint"
            )


def _load_tasks(job: Job, config: XLMConfig) -> list[Task]:
    tasks: list[Task] = []
    for i, spec in enumerate(job.tasks):
        head = getattr(spec, "head", None) or job.model.checkpoint
        tasks.append(load_task(spec, config, job.input.text_columns[0], _folder(head, f"tasks.{i}.{spec.kind}.head")))
    return tasks


def _load_model(job: Job) -> tuple[XLMModel, list[Task]]:
    trunk = XLMModel.from_pretrained(job.model.checkpoint)
    return trunk, _load_tasks(job, trunk.config)
