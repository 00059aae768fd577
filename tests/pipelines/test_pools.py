"""Allocation of a cluster's CPUs and GPUs to the stages."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.errors import FatalError
from pipelines.job.sections import ComputeSettings
from pipelines.stages.pools import READ_CPUS, WRITE_CPUS, allocate_pools


@given(
    cpus=st.integers(1, 512),
    gpus=st.integers(0, 64),
    per_model=st.sampled_from([0.0, 0.01, 0.25, 0.3, 0.5, 1.0, 2.0, 8.0]),
    models=st.one_of(st.just("auto"), st.integers(1, 100)),
    tokenizers=st.one_of(st.just("auto"), st.integers(1, 1000)),
)
def test_allocated_resources_never_exceed_the_cluster(cpus, gpus, per_model, models, tokenizers):
    settings = ComputeSettings(models=models, tokenizers=tokenizers, gpus_per_model=per_model)
    try:
        pools = allocate_pools(cpus, gpus, settings)
    except FatalError:
        assert models != "auto" or per_model > gpus  # `auto` fits any machine
        return
    cpus_per_worker = [READ_CPUS, WRITE_CPUS, pools.tokenizer_cpus, pools.model_cpus]
    assert len(set(cpus_per_worker)) == 4  # Ray fuses stages that ask for the same
    assert min(cpus_per_worker) > 0
    assert pools.models * pools.model_cpus + pools.tokenizer_cpus + READ_CPUS + WRITE_CPUS <= cpus
    assert pools.models * pools.model_gpus <= gpus + 1e-9
    assert pools.model_threads >= 1
    if models != "auto":
        assert pools.models == models
    if gpus and per_model:
        assert pools.model_gpus == per_model


@pytest.mark.parametrize(
    ("cpus", "gpus", "settings"),
    [
        (2, 0, ComputeSettings(models=50)),
        (16, 4, ComputeSettings(models=5)),
        (16, 4, ComputeSettings(gpus_per_model=8)),
        (16, 8, ComputeSettings(gpus_per_model=0.3, models=26)),
    ],
)
def test_more_models_than_the_cluster_can_hold_are_refused(cpus, gpus, settings):
    with pytest.raises(FatalError):
        allocate_pools(cpus, gpus, settings)
