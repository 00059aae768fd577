"""The cluster has what the job's processes need: the same planning as that of a run decides it."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from jobs.submission.kuberay import KubeRayOptions, Replicas
from jobs.submission.kuberay.worker_groups import worker_groups
from pipelines.errors import FatalError
from pipelines.job import ComputeSettings
from pipelines.stages import Node, allocate_pools
from tests.jobs.submission.kuberay.variants import IMAGE

COMPUTE = st.builds(
    ComputeSettings,
    tokenizers=st.just("auto") | st.integers(1, 200),
    models=st.just("auto") | st.integers(1, 60),
    gpus_per_model=st.sampled_from([0.0, 0.1, 0.25, 0.5, 1.0, 2.0]),
)


def nodes(groups):
    return [Node(group.cpus, group.gpus) for group in groups for _ in range(group.replicas.high)]


@given(COMPUTE, st.integers(2, 64), st.booleans())
def test_processes_fit_the_largest_cluster_and_no_smaller_one(compute, worker_cpus, detects_lang):
    try:
        options = KubeRayOptions(image=IMAGE, worker_cpus=worker_cpus)
        groups = worker_groups(compute, options, detects_lang=detects_lang)
    except FatalError:
        assume(False)
    pools = allocate_pools(nodes(groups), compute, detects_lang=detects_lang)
    assert compute.models in ("auto", pools.models)
    assert compute.tokenizers in ("auto", pools.tokenizers)
    assert pools.model_gpus == compute.gpus_per_model
    if compute.tokenizers != "auto":
        assert pools.tokenizer_cpus >= 0.9
    if compute.models != "auto" and compute.gpus_per_model > 0 and groups[-1].replicas.high > 1:
        with pytest.raises(FatalError):
            allocate_pools(nodes(groups)[:-1], compute, detects_lang=detects_lang)


def test_options_decide_for_auto():
    options = KubeRayOptions(image=IMAGE, cpu_workers=Replicas(1, 9), gpu_workers=Replicas(0, 7))
    cpu, gpu = worker_groups(ComputeSettings(), options)
    assert (cpu.name, cpu.replicas, gpu.name, gpu.replicas) == ("cpu", (1, 9), "gpu", (0, 7))


def test_models_without_gpus_share_the_cpu_workers():
    (cpu,) = worker_groups(ComputeSettings(gpus_per_model=0.0), KubeRayOptions(image=IMAGE))
    assert (cpu.name, cpu.gpus) == ("cpu", 0)


def test_options_that_allow_too_little_are_errors():
    options = KubeRayOptions(image=IMAGE, gpu_workers=Replicas(0, 2))
    with pytest.raises(FatalError, match=r"--gpu-workers allows 2 pods, but .* which needs 8; set it to 8"):
        worker_groups(ComputeSettings(models=8), options)


@pytest.mark.parametrize("text", ["", "a", "3:2", "-1", "1:2:3", "1:", "९"])
def test_invalid_numbers_of_workers(text):
    with pytest.raises(ValueError, match="expected MAX or MIN:MAX"):
        Replicas.parse(text)


def test_numbers_of_workers():
    assert Replicas.parse("8") == (0, 8)
    assert Replicas.parse("2:8") == (2, 8)
