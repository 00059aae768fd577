"""Allocation of a cluster's CPUs and GPUs to the stages."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipelines.errors import FatalError
from pipelines.job.sections import ComputeSettings
from pipelines.stages.pools import READ_CPUS, WRITE_CPUS, Node, allocate_pools

NODES = st.lists(st.builds(Node, st.integers(1, 96).map(float), st.integers(0, 8).map(float)), min_size=1, max_size=6)


@given(
    nodes=NODES,
    per_model=st.sampled_from([0.0, 0.01, 0.25, 0.3, 0.5, 1.0, 2.0, 8.0]),
    models=st.one_of(st.just("auto"), st.integers(1, 100)),
    tokenizers=st.one_of(st.just("auto"), st.integers(1, 1000)),
    detects_lang=st.booleans(),
)
# 0.5 CPUs are left on each
@example(nodes=[Node(1.0, 1.0)] * 2, per_model=1.0, models="auto", tokenizers="auto", detects_lang=False)
def test_allocated_workers_fit_the_nodes(nodes, per_model, models, tokenizers, detects_lang):
    settings = ComputeSettings(models=models, tokenizers=tokenizers, gpus_per_model=per_model)
    cpus, gpus = sum(node.cpus for node in nodes), [node.gpus for node in nodes]
    try:
        pools = allocate_pools(nodes, settings, detects_lang=detects_lang)
    except FatalError:
        assert models != "auto" or per_model > max(gpus)  # `auto` fits any cluster
        return
    cpus_per_worker = [READ_CPUS, WRITE_CPUS, pools.tokenizer_cpus, pools.model_cpus]
    cpus_per_worker += [pools.identifier_cpus] if detects_lang else []
    assert len(set(cpus_per_worker)) == 4 + detects_lang  # Ray fuses stages that ask for the same
    assert min(cpus_per_worker) > 0
    assert pools.models * pools.model_cpus + sum(cpus_per_worker) - pools.model_cpus <= cpus
    assert list(pools.sizes) == ["identify", "tokenize", "infer"][not detects_lang :]
    assert pools.model_threads >= 1
    if models != "auto":
        assert pools.models == models
    if any(gpus) and per_model:
        assert pools.model_gpus == per_model
    needs = [(pools.model_cpus, pools.model_gpus)] * pools.models
    assert place(needs + [(need, 0.0) for need in cpus_per_worker if need != pools.model_cpus], nodes)


def place(needs: list[tuple[float, float]], nodes: list[Node]) -> bool:
    """Return whether workers find a place, each on the first node with enough free CPUs, and enough of single GPUs."""
    # Nodes with GPUs last, as Ray does for workers that need none.
    free = [[node.cpus, [1.0] * int(node.gpus)] for node in sorted(nodes, key=lambda node: node.gpus)]
    return all(any(take(node, cpus, gpus) for node in free) for cpus, gpus in needs)


def take(node: list, cpus: float, gpus: float) -> bool:
    """Take CPUs and GPUs from a node, if it has enough; a share of a GPU is of one GPU."""
    single = [i for i, left in enumerate(node[1]) if left >= min(gpus, 1.0) - 1e-9][: max(1, int(gpus))]
    if node[0] < cpus - 1e-9 or (gpus and len(single) < max(1, int(gpus))):
        return False
    node[0] -= cpus
    for i in single if gpus else []:
        node[1][i] -= min(gpus, 1.0)
    return True


@pytest.mark.parametrize(
    ("nodes", "settings", "models", "model_cpus", "model_threads", "model_gpus"),
    [
        ([Node(1.0)], {}, 1, 0.33, 1, 0.0),
        ([Node(2.0)], {}, 1, 1.0, 2, 0.0),
        ([Node(4.0)], {}, 1, 2.0, 4, 0.0),
        ([Node(8.0)], {}, 2, 2.0, 4, 0.0),
        ([Node(2.0)] * 4, {}, 4, 1.0, 2, 0.0),
        ([Node(2.0)] * 4, {"models": 1}, 1, 1.0, 2, 0.0),
        ([Node(1.0)] * 8, {}, 4, 1.0, 1, 0.0),
        ([Node(0.0), Node(16.0), Node(2.0)], {}, 4, 2.0, 4, 0.0),
        ([Node(8.0, 2.0)] * 4, {"gpus_per_model": 2.0}, 4, 0.5, 1, 2.0),
        ([Node(8.0, 2.0), Node(8.0, 3.0)], {"gpus_per_model": 2.0}, 2, 0.5, 1, 2.0),
    ],
)
def test_pools_are_planned_from_what_single_nodes_have(nodes, settings, models, model_cpus, model_threads, model_gpus):
    pools = allocate_pools(nodes, ComputeSettings(**settings))
    assert (pools.models, pools.model_threads, pools.model_gpus) == (models, model_threads, model_gpus)
    assert pools.model_cpus == pytest.approx(model_cpus)


@pytest.mark.parametrize(
    ("nodes", "settings", "message"),
    [
        (
            [Node(2.0)],
            {"models": 50},
            "compute.models is 50, which leaves none of the 2 CPUs for the other stages; set it lower",
        ),
        (
            [Node(2.0)] * 4,
            {"models": 8},
            "compute.models is 8, which leaves none of the 8 CPUs on 4 nodes of at most 2 for the other stages; set it "
            "lower",
        ),
        (
            [Node(4.0, 2.0)] * 4,
            {"gpus_per_model": 4.0},
            "compute.gpus_per_model is 4, but no node of the cluster has more than 2 GPUs; set it lower",
        ),
        (
            [Node(16.0, 4.0)],
            {"models": 5},
            "compute.models is 5 with 1 GPU each, but the cluster has 4 GPUs, enough for 4; set it lower",
        ),
        (
            [Node(16.0, 8.0)],
            {"gpus_per_model": 0.3, "models": 26},
            "compute.models is 26 with 0.3 GPUs each, but the cluster has 8 GPUs, enough for 24; set it lower",
        ),
        (
            [Node(0.0)],
            {},
            "the Ray cluster has no node with CPUs; start one, or set compute.address to another cluster",
        ),
    ],
)
def test_jobs_that_fit_no_node_are_refused(nodes, settings, message):
    with pytest.raises(FatalError) as error:
        allocate_pools(nodes, ComputeSettings(**settings))
    assert str(error.value) == message


def test_nodes_that_can_be_added_count_only_if_needed():
    small, large = Node(2.0, 1.0), Node(16.0, 4.0)
    assert allocate_pools([small], ComputeSettings(), [large]).models == 1
    pools = allocate_pools([Node(0.0), small], ComputeSettings(gpus_per_model=4.0), [large, large])
    assert (pools.models, pools.model_gpus) == (2, 4.0)
    with pytest.raises(FatalError):
        allocate_pools([small], ComputeSettings(gpus_per_model=8.0), [large])


def test_gpus_that_can_be_added_are_used_instead_of_the_cpus_of_the_first_node():
    head, gpu = Node(8.0), Node(8.0, 2.0)
    assert allocate_pools([head], ComputeSettings()).model_gpus == 0
    pools = allocate_pools([head], ComputeSettings(), [gpu, gpu])
    assert (pools.models, pools.model_gpus) == (4, 1.0)
    assert allocate_pools([head], ComputeSettings(gpus_per_model=0.0), [gpu, gpu]).model_gpus == 0
