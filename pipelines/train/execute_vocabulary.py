"""Run a job that learns a vocabulary, and write the files of its tokenizer."""

from __future__ import annotations

import hashlib
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.corpus import ShardLimits, plan_shards, survey_corpus
from pipelines.job import ComputeSettings
from pipelines.log import announce
from pipelines.run import ray_session
from pipelines.storage import locate
from pipelines.train.layout import TOKENIZER_FOLDER
from pipelines.train.training_output import TrainingOutput
from pipelines.train.vocabulary import learn_vocabulary
from xlm_core.tokenizer import write_tokenizer_files

if TYPE_CHECKING:
    from rich.console import Console

    from pipelines.training_job import VocabularyJob


def train_vocabulary(job: VocabularyJob, console: Console) -> dict[str, Any]:
    """Learn a vocabulary, and write it to `tokenizer` in the output. A run that was killed begins again.

    Returns:
        The report.

    Raises:
        FatalError: the vocabulary cannot be learned.
        RetryableError: Ray, its cluster or a store failed.
    """
    notify = partial(announce, console)
    output = TrainingOutput(locate(job.output.path, job.storage), _fingerprint(job))
    if output.is_complete():
        notify(f"nothing to do: {output.location.url} has the vocabulary of this job")
        return output.read_report()
    with output.lock():
        output.begin(job.model_dump(mode="json"))
        compute = ComputeSettings(address=job.compute.address, object_store_mb=job.compute.object_store_mb)
        with ray_session(compute):
            files = learn_vocabulary(job.vocabulary, job.tokenizer, job.storage, notify)
        folder = output.location / TOKENIZER_FOLDER
        with tempfile.TemporaryDirectory() as name:
            for file in write_tokenizer_files(Path(name), files):
                (folder / file.name).put(file.read_bytes())
        langs = sorted(files.lang2id or {})
        report = {"status": "complete", "tokens": len(files.vocab), "merges": len(files.merges), "langs": langs}
        output.finish(report)
        return report


def _fingerprint(job: VocabularyJob) -> dict[str, Any]:
    """Return everything that changes the vocabulary."""
    plan = plan_shards(survey_corpus(job.vocabulary.input, job.storage), ShardLimits(job.SHARD_ROWS))
    shards = hashlib.sha256("\n".join(plan.shards["shard"].to_pylist()).encode())
    settings = job.model_dump(mode="json", include={"vocabulary", "tokenizer"})
    return settings | {"input files": shards.hexdigest()}
