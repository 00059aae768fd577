"""What the processes of the pools load of a job's checkpoints, on whichever node they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.checkpoints.cache import PinnedCheckpoint, local_checkpoint
from xlm_core import XLMTokenizer

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from pipelines.job.job import Job
    from pipelines.tasks.task import Model, Task


def read_tokenizer(job: Job, folder: Path) -> XLMTokenizer:
    """Read the job's tokenizer from a directory."""
    spec = job.tokenizer
    return XLMTokenizer.from_pretrained(
        folder, zh=spec.zh, ja=spec.ja, kytea_model=spec.kytea_model, compat=spec.compat
    )


def load_tokenizer(job: Job, checkpoint: PinnedCheckpoint) -> XLMTokenizer:
    """Load the tokenizer in a tokenizer process."""
    return read_tokenizer(job, local_checkpoint(checkpoint))


def load_model(
    job: Job,
    checkpoint: PinnedCheckpoint,
    heads: list[PinnedCheckpoint],
    tasks: list[Task],
    device: torch.device,
    dtype: torch.dtype,
    max_tokens: int,
) -> tuple[Model, list[Task]]:
    """Load trunk and heads in a model process."""
    from pipelines.tasks.task import Model  # here, since tokenizer processes do without torch
    from xlm_core import XLMModel

    folder = local_checkpoint(checkpoint)
    causal = {"causal": True, "masked": False, "checkpoint": None}[job.model.objective]
    trunk = XLMModel.from_pretrained(folder, dtype=dtype, device=device, causal=causal)
    model = Model(trunk, folder, max_tokens, job.batch.invariant)
    for task, head in zip(tasks, heads, strict=True):
        task.load(model, folder if head == checkpoint else local_checkpoint(head))
    return model, tasks
