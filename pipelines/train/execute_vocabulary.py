"""Run a job that learns a vocabulary, and write the files of its tokenizer."""

from __future__ import annotations

import hashlib
import json
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.job import ComputeSettings
from pipelines.log import announce
from pipelines.run import ray_session
from pipelines.storage import locate
from pipelines.train.layout import REPORT_FILE, TOKENIZER_FOLDER
from pipelines.train.training_output import TrainingOutput
from pipelines.train.vocabulary import learn_vocabulary, plan_texts
from xlm_core.tokenizer import write_tokenizer_files

if TYPE_CHECKING:
    from rich.console import Console

    from pipelines.corpus import Plan
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
    plan = plan_texts(job.vocabulary.input, job.tokenizer, job.storage)
    output = TrainingOutput(locate(job.output.path, job.storage), _fingerprint(job, plan))
    if output.is_complete():
        notify(f"nothing to do: {output.location.url} has the vocabulary of this job")
        return output.read_report()
    with output.lock():
        output.begin(job.model_dump(mode="json"))
        compute = ComputeSettings(address=job.compute.address, object_store_mb=job.compute.object_store_mb)
        with ray_session(compute):
            files = learn_vocabulary(job.vocabulary, job.tokenizer, job.storage, notify, plan)
        folder = output.location / TOKENIZER_FOLDER
        with tempfile.TemporaryDirectory() as name:
            for file in write_tokenizer_files(Path(name), files):
                (folder / file.name).put(file.read_bytes())
        langs = sorted(files.lang2id or {})
        report = {"status": "complete", "tokens": len(files.vocab), "merges": len(files.merges), "langs": langs}
        (output.location / REPORT_FILE).put(json.dumps(report, indent=2, ensure_ascii=False).encode())
        output.finish()
        return report


def _fingerprint(job: VocabularyJob, plan: Plan) -> dict[str, Any]:
    """Return everything that changes the vocabulary."""
    shards = hashlib.sha256("\n".join(plan.shards["shard"].to_pylist()).encode())
    settings = job.model_dump(mode="json", include={"vocabulary", "tokenizer"})
    return settings | {"input files": shards.hexdigest()}
