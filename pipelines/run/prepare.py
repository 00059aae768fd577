"""Prepare a job before Ray starts: check everything that can be checked, and derive the settings of each stage."""

from __future__ import annotations

import hashlib
import importlib.metadata
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.checkpoints import (
    load_model,
    load_tokenizer,
    local_checkpoint,
    pin_checkpoint,
    read_tokenizer,
    url_in_errors,
)
from pipelines.corpus import is_plan, plan_shards, survey_corpus
from pipelines.errors import FatalError
from pipelines.job import DetectedLang, FixedLang, build_fingerprint, fingerprint_digest
from pipelines.output import DATA, Output, encode_schema, part_name
from pipelines.rows import (
    RowColumns,
    output_schema,
    read_schema,
    renamed_columns,
    result_schema,
    token_schema,
)
from pipelines.run.checks import (
    check_fixed_lang,
    check_precision,
    choose_max_length,
    pin_detection,
    pin_heads,
    segmented_langs,
)
from pipelines.run.shard_limits import choose_shard_limits
from pipelines.stages import (
    InferStageSettings,
    Reader,
    StageSettings,
    TokenizeStageSettings,
    Writer,
)
from pipelines.storage import find_files_below, find_overlap, locate
from xlm_core import check_checkpoint
from xlm_core.checkpoint import check_finite
from xlm_core.tokenizer import check_vocab_size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pyarrow as pa

    from pipelines.checkpoints import PinnedCheckpoint
    from pipelines.corpus import Corpus, Plan
    from pipelines.job import Job, TokenizerSettings
    from pipelines.run.checks import Detection
    from pipelines.storage import Location
    from pipelines.tasks import Task
    from xlm_core import XLMConfig, XLMTokenizer


_FILES_AT_ONCE = 4_096


@dataclass(frozen=True)
class Prepared:
    """A job that can run.

    Attributes:
        job: the job's settings, with the maximum length that the checkpoint allows if the job sets none.
        plan: the shards of the corpus.
        output: the output directory.
        fingerprint: everything that can change any result; two runs may share an output if theirs are equal.
        segmenters: the segmenters of the job, as in `ShardRecord`. Each can only change results in its language.
        description: what `job.json` says about the job: its settings, fingerprint, segmenters, and the columns of its
            output.
        stages: the settings of each stage.
        tokenizer: that of the checkpoint.
        notes: how languages are found, and how the tasks read their heads.
        warnings: what may be wrong, although the job can run.
        config: that of the trunk.
    """

    job: Job
    plan: Plan
    output: Location
    fingerprint: dict[str, Any]
    segmenters: dict[str, str]
    description: dict[str, Any]
    stages: StageSettings
    tokenizer: XLMTokenizer
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    config: XLMConfig


def prepare_job(job: Job, notify: Callable[[str], None] = lambda _: None) -> Prepared:
    """Check a job against its corpus, checkpoint and heads.

    Only the footers of the input files are read. Checkpoints are downloaded, hashed, and searched for weights that are
    not finite.

    Args:
        job: the job.
        notify: receives a message before anything that takes long.

    Raises:
        FatalError: the job cannot work; the message says what to correct.
        RetryableError: a store does not answer.
    """
    output = locate(job.output.path, job.storage)
    if output.url.startswith("memory://"):
        raise FatalError(f"output.path {output.url}: workers cannot reach the driver's memory; set another path")
    earlier = Output(output)
    kept = earlier.read_plan()
    kept = kept if kept is not None and is_plan(kept.schema) else None  # an earlier version may have other columns
    corpus = survey_corpus(job.input, job.storage, earlier.read_schema(), kept)
    _check_output_path(job, corpus, output)

    url = job.model.checkpoint
    trunk = pin_checkpoint(url, job.storage, notify)
    folder = local_checkpoint(trunk)
    with url_in_errors(url, folder):
        config = check_checkpoint(folder, "trunk")
        check_finite(folder, "trunk")
        tokenizer = read_tokenizer(job.tokenizer, folder)
    if job.model.objective != "checkpoint":
        config = config.with_objective(job.model.objective)
    warnings = [warning.replace(str(folder), url) for warning in tokenizer.warnings]
    warnings += check_vocab_size(tokenizer.vocab, config.vocab_size, url)
    warnings += check_precision(job.model, job.compute)
    if isinstance(job.input.lang, FixedLang):
        check_fixed_lang(
            job.input.lang.fixed,
            tokenizer,
            reject_unknown=job.policy.unknown_lang == "reject",
            needs_segmenter=not job.tokenizer.bypass_tokenizer,
        )
    detection, notes = None, list[str]()
    if isinstance(job.input.lang, DetectedLang):
        detection = pin_detection(job.input.lang, job.storage, notify)
        notes.append(detection.describe(job, tokenizer))
        warnings += detection.warnings

    plan = plan_shards(corpus, choose_shard_limits(job, config), kept)
    heads = pin_heads(job.tasks, url, trunk, folder, job.storage, notify)
    text_fields = [plan.schema.field(name) for name in job.input.text_columns]
    tasks: list[Task[Any]] = []
    for settings, (head, head_folder) in zip(job.tasks, heads, strict=True):
        with url_in_errors(head.url, head_folder):
            tasks.append(settings.prepare(config, head_folder, text_fields, job.storage))
    # After preparing the tasks: if the checkpoint cannot generate at all, that error is more helpful.
    max_new_tokens = max(task.num_new_tokens for task in job.tasks)
    max_length = choose_max_length(job.tokenizer, len(text_fields), max_new_tokens, config, url)
    job = job.model_copy(update={"tokenizer": job.tokenizer.model_copy(update={"max_length": max_length})})
    pinned_heads = [head for head, _ in heads]

    fingerprint = build_fingerprint(
        job,
        checkpoint_hash=trunk.content_hash,
        head_hashes=[None if head == trunk else head.content_hash for head in pinned_heads],
        identifier_hashes=detection and detection.hashes,
        result_fields=[field for task in tasks for field in task.fields],
        partition_types=plan.corpus.partition_types,
    )
    segmenters = _describe_segmenters(job.tokenizer, tokenizer)
    stages = _stage_settings(
        job, plan, output, trunk, pinned_heads, detection, tasks, max_length, fingerprint, segmenters
    )
    description = _describe(job, fingerprint, segmenters, stages.write.schema, trunk.revision)
    if corpus.tables:
        description["tables"] = dict(corpus.tables)
    notes += [note for task in tasks for note in task.notes]
    warnings += [warning for task in tasks for warning in task.warnings]
    texts = tuple(notes), tuple(warnings)
    return Prepared(job, plan, output, fingerprint, segmenters, description, stages, tokenizer, *texts, config)


def _check_output_path(job: Job, corpus: Corpus, output: Location) -> None:
    """Refuse an output within the input, whose results the next run would read, and the input within the output."""
    example = f"{DATA}/{part_name(f'{0:016x}-0-0')}"
    paths = [job.input.path] if isinstance(job.input.path, str) else job.input.path
    problem = next(filter(None, (find_overlap(path, output, example, job.storage) for path in paths)), None)
    if problem is None and output.is_local:
        file = next(find_files_below(_files(corpus), output), None)
        problem = file and f"contains {file}, a file of input.path"
    if problem:
        raise FatalError(f"output.path {output.url}: {problem}, so results would be read as input; set another path")


def _files(corpus: Corpus) -> Iterator[str]:
    """Yield the files of a corpus, some of them as Python objects at once."""
    for groups in (corpus.row_groups, corpus.pruned):
        for first in range(0, len(groups), _FILES_AT_ONCE):
            yield from groups["file"].slice(first, _FILES_AT_ONCE).unique().to_pylist()


def _describe_segmenters(settings: TokenizerSettings, tokenizer: XLMTokenizer) -> dict[str, str]:
    """Return the segmenters of all languages of the checkpoint; none if the job does not segment texts."""
    if settings.bypass_tokenizer:
        return {}
    langs = segmented_langs(tokenizer)
    segmenters = tokenizer.segmenters.describe(langs)
    if settings.ja == "kytea" and "ja" in langs:
        segmenters["ja"] += f", model {_hash_file(settings.kytea_model) or 'none'}"
    return segmenters


def _hash_file(path: str | None) -> str | None:
    file = Path(locate(path).path) if path else None
    return hashlib.sha256(file.read_bytes()).hexdigest() if file and file.is_file() else None


def _stage_settings(
    job: Job,
    plan: Plan,
    output: Location,
    trunk: PinnedCheckpoint,
    heads: list[PinnedCheckpoint],
    detection: Detection | None,
    tasks: list[Task[Any]],
    max_length: int,
    fingerprint: dict[str, Any],
    segmenters: dict[str, str],
) -> StageSettings:
    columns = RowColumns(
        corpus=plan.schema,
        id=job.input.id,
        keep=job.input.kept,
        text=job.input.text_columns,
        lang=job.input.lang_column,
        detects_lang=detection is not None,
        counts=job.output.count_columns,
        needs_offsets=any(task.needs_offsets for task in job.tasks),
    )
    result_fields = [field for task in tasks for field in task.fields]
    metadata = {
        "xlm:fingerprint": fingerprint_digest(fingerprint),
        "xlm:checkpoint": fingerprint["checkpoint"],
        "xlm:version": importlib.metadata.version("xlm-batch"),
    }
    return StageSettings(
        read=Reader(read_schema(columns), plan.schema.names, job.input.filter, renamed_columns(columns), job.storage),
        identify=detection and detection.stage_settings(job, columns),
        tokenize=TokenizeStageSettings(
            load=partial(load_tokenizer, job.tokenizer, trunk),
            input=job.input,
            tokenizer=job.tokenizer,
            max_length=max_length,
            segmenters=segmenters,
            policy=job.policy,
            mask_marker=next((task.mask_marker for task in job.tasks if task.mask_marker), None),
            has_choices=any(task.reads_choices for task in job.tasks),
            schema=token_schema(columns),
            timeout_s=job.policy.shard_timeout_s,
        ),
        infer=InferStageSettings(
            job=job.name,
            load=partial(load_model, job.model, job.batch.invariant, trunk, heads, tasks),
            precision=job.model.precision,
            max_tokens=None if job.batch.max_tokens == "auto" else job.batch.max_tokens,
            text_columns=job.input.text_columns,
            schema=result_schema(columns, result_fields),
            timeout_s=job.policy.shard_timeout_s,
        ),
        write=Writer(output, output_schema(columns, result_fields).with_metadata(metadata), job.input.id),
    )


def _describe(
    job: Job, fingerprint: dict[str, Any], segmenters: dict[str, str], schema: pa.Schema, revision: str | None
) -> dict[str, Any]:
    description: dict[str, Any] = {
        "spec": job.model_dump(mode="json"),
        "fingerprint": fingerprint,
        "segmenters": segmenters,
        "metadata": {key.decode(): value.decode() for key, value in schema.metadata.items()},
        "columns": {field.name: str(field.type) for field in schema},
        "schema": encode_schema(schema),
    }
    return description if revision is None else description | {"revision": revision}
