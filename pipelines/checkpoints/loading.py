"""Load the tokenizer and the model of pinned checkpoints in the worker processes, on any node."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from pipelines.checkpoints.cache import PinnedCheckpoint, local_checkpoint
from pipelines.job import ModelSettings, TokenizerSettings
from pipelines.log import logger
from pipelines.storage import locate
from xlm_core import XLMTokenizer

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from pipelines.tasks import Task
    from xlm_core.inference import Model


def read_tokenizer(settings: TokenizerSettings, folder: Path) -> XLMTokenizer:
    """Read the tokenizer of a checkpoint's folder."""
    kytea_model = settings.kytea_model and locate(settings.kytea_model).path
    return XLMTokenizer.from_pretrained(
        folder, zh=settings.zh, ja=settings.ja, kytea_model=kytea_model, compat=settings.compat
    )


def load_tokenizer(settings: TokenizerSettings, checkpoint: PinnedCheckpoint) -> XLMTokenizer:
    """Load a tokenizer in a tokenizer process. The checkpoint is downloaded if it is not on this node."""
    return read_tokenizer(settings, local_checkpoint(checkpoint))


def load_model(
    settings: ModelSettings,
    invariant: bool,
    checkpoint: PinnedCheckpoint,
    heads: list[PinnedCheckpoint],
    tasks: list[Task[Any]],
    device: torch.device,
    dtype: torch.dtype,
    max_tokens: int | None,
    shared: Path | None = None,
) -> tuple[Model, list[Task[Any]]]:
    """Load the trunk and the tasks' heads in a model process.

    Args:
        settings: the job's section `model`.
        invariant: whether a row's result must not depend on the other rows of its batch in any bit.
        checkpoint: the checkpoint with the trunk.
        heads: for each task, the checkpoint with its head.
        tasks: without weights.
        device, dtype: where the model runs, and in which precision.
        max_tokens: maximum number of tokens per forward pass; None for the default of the device and the model.
        shared: a folder of this node in which its model processes share the trunk; None if each loads its own.
    """
    from xlm_core import XLMModel  # here, because tokenizer processes do not import torch
    from xlm_core.inference import Model, default_max_tokens

    folder = local_checkpoint(checkpoint)
    causal = {"causal": True, "masked": False, "checkpoint": None}[settings.objective]
    load = partial(XLMModel.from_pretrained, folder, dtype=dtype, device=device, causal=causal)
    try:
        trunk = load(shared=shared and shared / f"{checkpoint.content_hash}-{dtype}")
    except OSError as error:
        if shared is None:
            raise
        logger.warning("%s: the trunk is not shared by the model processes of this node: %s", shared, error)
        trunk = load()
    max_tokens = max_tokens or default_max_tokens(device, trunk.config.emb_dim)
    model = Model(trunk, folder, max_tokens, invariant)
    for task, head in zip(tasks, heads, strict=True):
        task.load(model, folder if head == checkpoint else local_checkpoint(head))
    return model, tasks


def load_identifier(
    checkpoint: PinnedCheckpoint, head: PinnedCheckpoint, task: Task[Any], invariant: bool
) -> tuple[XLMTokenizer, Model, Task[Any]]:
    """Load the model that identifies languages, in float32 on the CPU.

    Args:
        checkpoint: the checkpoint with the trunk and the tokenizer.
        head: the checkpoint with the head.
        task: classifies texts with the head; without weights.
        invariant: as for `load_model`.
    """
    import torch

    settings = ModelSettings(checkpoint=checkpoint.url, precision="float32")
    cpu = torch.device("cpu")
    model, (task,) = load_model(settings, invariant, checkpoint, [head], [task], cpu, torch.float32, None)
    return load_tokenizer(TokenizerSettings(), checkpoint), model, task
