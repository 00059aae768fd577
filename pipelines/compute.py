"""How many processes each stage gets, and what share of the machine each of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.errors import FatalError

if TYPE_CHECKING:
    from pipelines.job import ComputeSpec

# Reading and writing wait for storage more than they compute. Each stage asks for another share of a CPU, since Ray
# Data fuses neighbours that ask for the same, and then reading and tokenizing would land in the model's process.
READ_CPUS = 0.25
WRITE_CPUS = 0.2


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
    if on_gpu:
        model_gpus, model_cpus, threads = spec.gpus_per_model, 0.5, 1
        most = int(gpus / spec.gpus_per_model + 1e-9)
        if most < 1:
            raise FatalError(f"compute.gpus_per_model is {spec.gpus_per_model:g}, but the cluster has {gpus:g} GPUs")
    else:
        share = max(1.0, cpus / 2)
        most = max(1, int(share // 4))
        most = most if spec.models == "auto" else spec.models
        model_gpus, threads = 0.0, max(1, int(share // most))
        model_cpus = float(threads)
    models = most if spec.models == "auto" else spec.models
    if on_gpu and models > most:
        raise FatalError(
            f"compute.models is {models} with {spec.gpus_per_model:g} GPUs each, but the cluster has {gpus:g} GPUs; "
            f"set compute.models to at most {most}"
        )
    rest = cpus - models * model_cpus - READ_CPUS - WRITE_CPUS
    if rest <= 0:
        raise FatalError(
            f"compute.models is {models}, which leaves nothing of {cpus:g} CPUs for the other stages; lower it"
        )
    if spec.tokenizers == "auto":
        tokenizer_cpus = min(1.0, rest)
        tokenizers = max(1, int(rest / tokenizer_cpus + 1e-9))
    else:
        tokenizers = spec.tokenizers
        tokenizer_cpus = min(1.0, rest / tokenizers)
    return Pools(tokenizers, models, round(tokenizer_cpus - 0.005, 2), model_cpus, model_gpus, threads)
