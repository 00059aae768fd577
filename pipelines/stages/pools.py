"""Allocate a cluster's CPUs and GPUs to the stages: the number of workers of each, and their resources."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.errors import FatalError
from pipelines.formatting import format_count

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipelines.job import ComputeSettings

# Reading and writing mostly wait for storage. Each stage asks for a different number of CPUs, because Ray Data fuses
# neighbouring stages that ask for the same, and would then read and tokenize in the model's process.
READ_CPUS = 0.25
WRITE_CPUS = 0.2
_CPUS_PER_IO_TASK = 4
_GPU_MODEL_CPUS = 0.5
# A model process on CPUs reserves half as many as it has threads. The other half is for tokenizers, which have a lower
# priority: as long as there is work for the models, they compute on all CPUs, and else tokenizers do.
_CPUS_PER_CPU_MODEL = 2  # a model process gains little from more than four threads


@dataclass(frozen=True)
class Pools:
    """The sizes of the worker pools, and the resources of each worker.

    Attributes:
        tokenizers, models: number of workers. A tokenizer pool starts with one worker and grows to this number.
        tokenizer_cpus, model_cpus, model_gpus: what Ray reserves for each worker.
        identifier_cpus: the same for each identifier. There are as many as tokenizers if the job detects languages.
        model_threads: CPU threads that a model worker computes with if it has no GPU; more than it reserves CPUs.
        io_tasks: maximum number of shards that are read at a time, and of those that are written.
    """

    tokenizers: int
    models: int
    tokenizer_cpus: float
    model_cpus: float
    model_gpus: float
    model_threads: int
    identifier_cpus: float = 0.0
    io_tasks: int = 1

    @property
    def sizes(self) -> dict[str, int]:
        """Number of workers by stage."""
        identifiers = {"identify": self.tokenizers} if self.identifier_cpus else {}
        return identifiers | {"tokenize": self.tokenizers, "infer": self.models}


@dataclass(frozen=True)
class Node:
    """The CPUs and GPUs of one node of a cluster."""

    cpus: float
    gpus: float = 0.0


def allocate_pools(
    nodes: Sequence[Node], settings: ComputeSettings, addable: Sequence[Node] = (), *, detects_lang: bool = False
) -> Pools:
    """Allocate the CPUs and GPUs of a cluster's nodes to the stages.

    With GPUs, there is one model worker per `gpus_per_model`, and the remaining CPUs tokenize. Without GPUs, half of
    each node's CPUs are reserved for models, which compute with all of them. Each worker fits one node. If the job
    detects languages, every other CPU that would tokenize identifies languages.

    Args:
        nodes: the nodes that the cluster has.
        settings: the job's section `compute`.
        addable: nodes that an autoscaler can add. They count only if the cluster is too small for the job without them,
            or has no GPU yet.
        detects_lang: whether the job detects languages.

    Raises:
        FatalError: the job asks for more than the cluster or any of its nodes has, so Ray would wait forever.
    """
    with_cpus = [node for node in nodes if node.cpus > 0]
    waits_for_gpus = settings.gpus_per_model > 0 and _has_gpus(addable) and not _has_gpus(with_cpus)
    if not waits_for_gpus:
        try:
            return _allocate(with_cpus, settings, detects_lang)
        except FatalError:
            if not addable:
                raise
    return _allocate([*with_cpus, *addable], settings, detects_lang)


def _has_gpus(nodes: Sequence[Node]) -> bool:
    return any(node.gpus > 0 for node in nodes)


def _allocate(nodes: Sequence[Node], settings: ComputeSettings, detects_lang: bool) -> Pools:
    if not nodes:
        raise FatalError("the Ray cluster has no node with CPUs; start one, or set compute.address to another cluster")
    spare = sum(node.cpus for node in nodes) - READ_CPUS - WRITE_CPUS
    if settings.gpus_per_model > 0 and _has_gpus(nodes):
        models, model_gpus, threads = _gpu_models(nodes, settings), settings.gpus_per_model, 1
        model_cpus = _GPU_MODEL_CPUS
    else:
        models, reserved = _cpu_models(nodes, settings)
        threads = _cpu_threads(nodes, reserved)
        # On a machine with one CPU all stages share it.
        model_gpus, model_cpus = 0.0, float(reserved) if models * reserved < spare or models > 1 else 0.6 * spare
    rest = spare - models * model_cpus
    if rest <= 0 or sum(int(node.cpus / model_cpus) for node in nodes) < models:
        raise FatalError(
            f"compute.models is {models}, which leaves none of the {_describe_cpus(nodes)} for the other stages; set "
            "it lower"
        )
    per_tokenizer = 2 if detects_lang else 1  # workers: an identifier for each tokenizer
    tokenizers = max(1, int(rest / per_tokenizer)) if settings.tokenizers == "auto" else settings.tokenizers
    largest = min(1.0, rest / (tokenizers * per_tokenizer), _largest_free(nodes, models, model_cpus) / per_tokenizer)
    tokenizer_cpus = max(0.01, round(largest - 0.01, 2))
    if tokenizer_cpus in (READ_CPUS, WRITE_CPUS, model_cpus):
        tokenizer_cpus -= 0.005
    identifier_cpus = tokenizer_cpus - 0.002 if detects_lang else 0.0
    # Each needs a process, whose start takes a second of a CPU.
    io_tasks = max(1, int(sum(node.cpus for node in nodes) / _CPUS_PER_IO_TASK))
    return Pools(tokenizers, models, tokenizer_cpus, model_cpus, model_gpus, threads, identifier_cpus, io_tasks)


def _largest_free(nodes: Sequence[Node], models: int, model_cpus: float) -> float:
    """Return the most CPUs that a node has left, if the models are spread so that this is as little as possible."""
    free = [node.cpus for node in nodes]
    for _ in range(models):
        free[free.index(max(free))] -= model_cpus
    return max(free)


def _cpu_models(nodes: Sequence[Node], settings: ComputeSettings) -> tuple[int, int]:
    """Return the number of model workers without GPUs, and the CPUs that each reserves.

    Half of each node's CPUs are for models, so models and tokenizers find room on any node, in any order.
    """
    shares = [node.cpus / 2 for node in nodes]
    if settings.models == "auto":
        largest = max(shares)
        reserved = max(1, int(largest // max(1, largest // _CPUS_PER_CPU_MODEL)))
        # Nodes with one CPU each: half of the nodes are for models.
        return max(1, len(nodes) // 2, sum(int(share // reserved) for share in shares)), reserved
    reserved = max(1, int(min(sum(shares) // settings.models, max(shares))))
    while reserved > 1 and sum(int(share // reserved) for share in shares) < settings.models:
        reserved -= 1
    return settings.models, reserved


def _cpu_threads(nodes: Sequence[Node], reserved: int) -> int:
    """Return the number of threads of a model worker, such that those of a node's models are as many as its CPUs."""
    models = [(node.cpus, int(node.cpus / 2 // reserved)) for node in nodes]
    return max(1, min((int(cpus // number) for cpus, number in models if number), default=1))


def _gpu_models(nodes: Sequence[Node], settings: ComputeSettings) -> int:
    """Return the number of model workers with GPUs; each has a share of one GPU, or whole GPUs of one node."""
    per_model, gpus = settings.gpus_per_model, [node.gpus for node in nodes]
    by_gpus = (int(1 / per_model) * int(node.gpus) if per_model < 1 else int(node.gpus / per_model) for node in nodes)
    most_of = [min(most, int(node.cpus / _GPU_MODEL_CPUS)) for node, most in zip(nodes, by_gpus, strict=True)]
    most = sum(most_of)
    if most < 1:
        raise FatalError(
            f"compute.gpus_per_model is {per_model:g}, but no node of the cluster has more than "
            f"{format_count(int(max(gpus)), 'GPU')}; set it lower"
        )
    if settings.models == "auto":
        halves = (max(1, int(node.cpus / 2 / _GPU_MODEL_CPUS)) for node in nodes)
        return sum(min(pair) for pair in zip(most_of, halves, strict=True))
    if settings.models > most:
        each, all_gpus = format_count(per_model, "GPU"), format_count(sum(gpus), "GPU")
        raise FatalError(
            f"compute.models is {settings.models} with {each} each, but the cluster has {all_gpus}, enough for {most}; "
            "set it lower"
        )
    return settings.models


def _describe_cpus(nodes: Sequence[Node]) -> str:
    total, largest = sum(node.cpus for node in nodes), max(node.cpus for node in nodes)
    cpus = format_count(total, "CPU")
    return cpus if len(nodes) == 1 else f"{cpus} on {len(nodes)} nodes of at most {largest:g}"
