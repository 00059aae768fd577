"""How many processes each stage gets, and what share of the machine each of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.errors import FatalError

if TYPE_CHECKING:
    from pipelines.job.job import ComputeSpec

# Reading and writing wait for storage more than they compute. Each stage asks for another share of a CPU, since Ray
# Data fuses neighbours that ask for the same, and then reading and tokenizing would land in the model's process.
READ_CPUS = 0.25
WRITE_CPUS = 0.2
_GPU_MODEL_CPUS = 0.5


@dataclass(frozen=True)
class Pools:
    """The two pools of processes.

    Attributes:
        tokenizers, models: processes in each pool; a tokenizer pool grows from 1.
        tokenizer_cpus, model_cpus, model_gpus: what Ray reserves for each process.
        model_threads: threads that a model process computes with, where there is no GPU.
    """

    tokenizers: int
    models: int
    tokenizer_cpus: float
    model_cpus: float
    model_gpus: float
    model_threads: int


def divide(cpus: float, gpus: float, spec: ComputeSpec) -> Pools:
    """Share out a cluster's CPUs and GPUs among the stages.

    With GPUs, a model process per `gpus_per_model`, and all CPUs but those of the models tokenize. Without, half of
    the CPUs run the model, four to a process, since a process gains little from more.

    Raises:
        FatalError: the job asks for more than there is, so it would wait for ever.
    """
    on_gpu = gpus > 0 and spec.gpus_per_model > 0
    spare = cpus - READ_CPUS - WRITE_CPUS
    if on_gpu:
        # a model lies within one GPU, or has several to itself
        fit = int(1 / spec.gpus_per_model) * int(gpus) if spec.gpus_per_model < 1 else int(gpus / spec.gpus_per_model)
        if fit < 1:
            raise FatalError(f"compute.gpus_per_model is {spec.gpus_per_model:g}, but the cluster has {gpus:g} GPUs")
        model_gpus, threads = spec.gpus_per_model, 1
        models = min(fit, max(1, int(spare / 2 / _GPU_MODEL_CPUS))) if spec.models == "auto" else spec.models
        if models > fit:
            raise FatalError(
                f"compute.models is {models} with {model_gpus:g} GPUs each, but only {fit} fit {gpus:g} GPUs; lower it"
            )
        model_cpus = _GPU_MODEL_CPUS
    else:
        share = max(1.0, cpus / 2)
        models = max(1, int(share // 4)) if spec.models == "auto" else spec.models
        model_gpus, threads = 0.0, max(1, int(share // models))
        # on a machine of one CPU all stages share it
        model_cpus = float(threads) if models * threads < spare or models > 1 else 0.6 * spare
    rest = spare - models * model_cpus
    if rest <= 0:
        raise FatalError(f"compute.models is {models}, too many for {cpus:g} CPUs with the other stages; lower it")
    most = max(1, int(rest))
    tokenizers = most if spec.tokenizers == "auto" else spec.tokenizers
    tokenizer_cpus = max(0.01, round(min(1.0, rest / tokenizers) - 0.01, 2))
    if tokenizer_cpus in (READ_CPUS, WRITE_CPUS, model_cpus):
        tokenizer_cpus -= 0.005
    return Pools(tokenizers, models, tokenizer_cpus, model_cpus, model_gpus, threads)
