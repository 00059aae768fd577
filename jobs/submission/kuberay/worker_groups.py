"""The groups of workers of a cluster, sized for a job's `compute`: CPU workers tokenize, GPU workers run the model."""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jobs.submission.kuberay.options import Replicas
from pipelines.errors import FatalError
from pipelines.formatting import format_count
from pipelines.stages import Node, allocate_pools

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobs.submission.kuberay.options import KubeRayOptions
    from pipelines.job import ComputeSettings

_AUTO = Replicas(0, 4)  # for numbers of processes that are `auto`
_MAX_PODS = 5_000  # as many nodes as Kubernetes supports
_ENOUGH_CPUS = 0.9  # of a tokenizer process; with less, processes wait for each other


@dataclass(frozen=True)
class WorkerGroup:
    """Equal pods, which the autoscaler adds and removes.

    Attributes:
        name: cpu or gpu.
        replicas: how many pods.
        cpus, memory_gib, gpus: of each pod.
    """

    name: str
    replicas: Replicas
    cpus: int
    memory_gib: int
    gpus: int = 0


def worker_groups(
    compute: ComputeSettings, options: KubeRayOptions, *, detects_lang: bool = False
) -> list[WorkerGroup]:
    """Return the worker groups for a job, so that the run plans just the processes that the job asks for.

    Raises:
        FatalError: the options allow too few pods for the job, or its processes do not fit pods of this size.
    """
    cpu_node = Node(options.worker_cpus)
    gpu_node = Node(options.worker_cpus, math.ceil(compute.gpus_per_model))
    has_gpus = gpu_node.gpus > 0 and (options.gpu_workers is None or options.gpu_workers.high > 0)

    def fits(cpu_pods: int, gpu_pods: int, *, tokenizers: bool) -> bool:
        try:
            nodes = [cpu_node] * cpu_pods + [gpu_node] * gpu_pods
            pools = allocate_pools(nodes, compute, detects_lang=detects_lang)
        except FatalError:
            return False
        return not tokenizers or compute.tokenizers == "auto" or pools.tokenizer_cpus >= _ENOUGH_CPUS

    gpu = Replicas(0, 0)
    if has_gpus:
        need = None if compute.models == "auto" else _fewest(lambda pods: fits(1, pods, tokenizers=False))
        gpu = _replicas("gpu", options.gpu_workers, need, compute)
    is_auto = compute.tokenizers == "auto" and (has_gpus or compute.models == "auto")
    need = None if is_auto else _fewest(lambda pods: fits(pods, gpu.high, tokenizers=True))
    cpu = _replicas("cpu", options.cpu_workers, need, compute)
    if not fits(cpu.high, gpu.high, tokenizers=True):
        raise FatalError(
            f"--cpu-workers allows {format_count(cpu.high, 'pod')} and --gpu-workers {format_count(gpu.high, 'pod')}, "
            "which cannot run the job; set them or --worker-cpus higher"
        )
    groups = [WorkerGroup("cpu", cpu, options.worker_cpus, options.worker_memory_gib)]
    if has_gpus:
        groups.append(WorkerGroup("gpu", gpu, options.worker_cpus, options.worker_memory_gib, int(gpu_node.gpus)))
    return groups


def _fewest(fits: Callable[[int], bool]) -> int:
    """Return the smallest number of pods that is enough; more pods than that are enough, too."""
    return 1 + bisect_left(range(1, _MAX_PODS), True, key=fits)


def _replicas(group: str, given: Replicas | None, need: int | None, compute: ComputeSettings) -> Replicas:
    if need is None:
        return given or _AUTO
    wanted = f"compute.tokenizers is {compute.tokenizers} and compute.models is {compute.models}"
    if need == _MAX_PODS:
        raise FatalError(f"{wanted}, which no number of workers is enough for; set --worker-cpus higher")
    if given is not None and given.high < need:
        raise FatalError(
            f"--{group}-workers allows {format_count(given.high, 'pod')}, but {wanted}, which needs {need}; set it to "
            f"{need}, or the numbers in the job lower"
        )
    return given or Replicas(0, need)
