"""Allocate a cluster's CPUs and GPUs to the stages: the number of workers of each, and their resources."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.errors import FatalError

if TYPE_CHECKING:
    from pipelines.job import ComputeSettings

# Reading and writing mostly wait for storage. Each stage asks for a different number of CPUs, because Ray Data fuses
# neighbouring stages that ask for the same, and would then read and tokenize in the model's process.
READ_CPUS = 0.25
WRITE_CPUS = 0.2
_GPU_MODEL_CPUS = 0.5
_CPUS_PER_CPU_MODEL = 4  # a model process gains little from more threads


@dataclass(frozen=True)
class Pools:
    """The sizes of the two worker pools, and the resources of each worker.

    Attributes:
        tokenizers, models: number of workers. A tokenizer pool starts with one worker and grows to this number.
        tokenizer_cpus, model_cpus, model_gpus: what Ray reserves for each worker.
        model_threads: CPU threads that a model worker computes with if it has no GPU.
    """

    tokenizers: int
    models: int
    tokenizer_cpus: float
    model_cpus: float
    model_gpus: float
    model_threads: int


def allocate_pools(cpus: float, gpus: float, settings: ComputeSettings) -> Pools:
    """Allocate a cluster's CPUs and GPUs to the stages.

    With GPUs, there is one model worker per `gpus_per_model`, and all remaining CPUs tokenize. Without GPUs, half of
    the CPUs run the model.

    Raises:
        FatalError: the job asks for more than the cluster has, so Ray would wait forever.
    """
    spare = cpus - READ_CPUS - WRITE_CPUS
    if gpus > 0 and settings.gpus_per_model > 0:
        models, model_gpus, threads = _gpu_models(gpus, spare, settings), settings.gpus_per_model, 1
        model_cpus = _GPU_MODEL_CPUS
    else:
        model_share = max(1.0, cpus / 2)
        models = max(1, int(model_share // _CPUS_PER_CPU_MODEL)) if settings.models == "auto" else settings.models
        model_gpus, threads = 0.0, max(1, int(model_share // models))
        # On a machine with one CPU all stages share it.
        model_cpus = float(threads) if models * threads < spare or models > 1 else 0.6 * spare
    rest = spare - models * model_cpus
    if rest <= 0:
        raise FatalError(
            f"compute.models is {models}, which leaves none of the {cpus:g} CPUs for the other stages; set it lower"
        )
    tokenizers = max(1, int(rest)) if settings.tokenizers == "auto" else settings.tokenizers
    tokenizer_cpus = max(0.01, round(min(1.0, rest / tokenizers) - 0.01, 2))
    if tokenizer_cpus in (READ_CPUS, WRITE_CPUS, model_cpus):
        tokenizer_cpus -= 0.005
    return Pools(tokenizers, models, tokenizer_cpus, model_cpus, model_gpus, threads)


def _gpu_models(gpus: float, spare_cpus: float, settings: ComputeSettings) -> int:
    """Return the number of model workers with GPUs; each has a share of one GPU, or whole GPUs."""
    per_model = settings.gpus_per_model
    most = int(1 / per_model) * int(gpus) if per_model < 1 else int(gpus / per_model)
    if most < 1:
        raise FatalError(f"compute.gpus_per_model is {per_model:g}, but the cluster has {gpus:g} GPUs; set it lower")
    if settings.models == "auto":
        return min(most, max(1, int(spare_cpus / 2 / _GPU_MODEL_CPUS)))
    if settings.models > most:
        raise FatalError(
            f"compute.models is {settings.models} with {per_model:g} GPUs each, but {gpus:g} GPUs are enough for "
            f"{most}; set it lower"
        )
    return settings.models
