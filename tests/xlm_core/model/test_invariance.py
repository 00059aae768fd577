"""What a sequence gets does not depend on its neighbours, the budget or the order."""

import numpy as np
import pytest
import torch

from xlm_core import (
    XLMForMultipleChoice,
    XLMForQuestionAnswering,
    XLMForQuestionAnsweringSimple,
    XLMForSequenceClassification,
    XLMForTokenClassification,
    XLMModel,
    XLMWithLMHeadModel,
)
from xlm_core.checkpoint.config import XLMConfig
from xlm_core.heads import POOLINGS
from xlm_core.model.packing import PackedBatch, cumulative_lengths, plan_batches

NEAR = 2e-5

# large enough for the matrix products to pick other blockings for other numbers of rows
CONFIG = XLMConfig(vocab_size=500, emb_dim=256, n_layers=4, n_heads=4, n_langs=5, max_position_embeddings=128)
LENGTHS = np.array([17, 3, 128, 1, 40, 17, 90, 2, 33, 64, 5, 17, 1, 101])


@pytest.fixture(scope="module")
def ragged():
    generator = np.random.default_rng(1)
    ids = generator.integers(3, 500, LENGTHS.sum(), dtype=np.int32)
    return ids, cumulative_lengths(LENGTHS), generator.integers(-1, 5, len(LENGTHS), dtype=np.int32)


def build(model_class):
    torch.manual_seed(0)
    model = model_class(CONFIG).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # at 0.02 attention is uniform and hides mixed-up sequences
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model


@pytest.fixture(scope="module")
def trunk():
    return build(XLMModel)


def run(model, ragged, plan):
    """Run a plan's batches; give each sequence's rows, in input order."""
    results: dict[int, torch.Tensor] = {}
    with torch.inference_mode():
        for index in plan:
            batch = PackedBatch.from_ragged(*ragged, index=np.array(index))
            rows = model.forward_packed(batch)
            if isinstance(rows, tuple):  # beams, of several tensors
                rows = torch.cat([tensor.view(len(index), -1).float() for tensor in rows], dim=1)
            per_token = len(rows) == batch.num_tokens
            parts = rows.split(batch.lengths.tolist()) if per_token else rows.split(1)
            results |= dict(zip([int(i) for i in index], parts, strict=True))
    return [results[i] for i in range(len(LENGTHS))]


EVERYONE = np.arange(len(LENGTHS))
PLANS = {
    "all at once": [EVERYONE],
    "backwards": [EVERYONE[::-1]],
    "shuffled": [np.random.default_rng(2).permutation(EVERYONE)],
    "in threes": np.array_split(EVERYONE, 5),
    "budget 150": plan_batches(LENGTHS, 150),
    "budget 300": plan_batches(LENGTHS, 300),
}


@pytest.fixture(scope="module")
def alone(trunk, ragged):
    return run(trunk, ragged, [[i] for i in EVERYONE])


@pytest.fixture(scope="module")
def planned(trunk, ragged):
    return {name: run(trunk, ragged, plan) for name, plan in PLANS.items()}


@pytest.mark.parametrize("name", PLANS)
def test_neighbours_budget_and_order_move_no_result(planned, alone, name):
    for got, expected in zip(planned[name], alone, strict=True):
        torch.testing.assert_close(got, expected, atol=NEAR, rtol=0)


@pytest.mark.parametrize(
    "model_class",
    [
        XLMModel,
        XLMForSequenceClassification,
        XLMForTokenClassification,
        XLMForMultipleChoice,
        XLMForQuestionAnsweringSimple,
        XLMForQuestionAnswering,
        XLMWithLMHeadModel,
    ],
)
def test_sequences_in_batches_of_their_own_give_identical_bytes_in_any_order(ragged, model_class):
    model = build(model_class)
    expected = run(model, ragged, [[i] for i in EVERYONE])
    for name in ("all at once", "shuffled", "budget 150"):
        got = run(model, ragged, [[i] for i in np.concatenate(PLANS[name])])
        assert all(torch.equal(a, b) for a, b in zip(got, expected, strict=True))


def test_sequences_in_shared_batches_may_differ_in_the_last_bits(planned, alone):
    """Shows that the test above can fail; some machine's products may not depend on the number of rows."""
    moved = any(not torch.equal(a, b) for got in planned.values() for a, b in zip(got, alone, strict=True))
    if not moved:
        pytest.skip("on this machine the bytes stay the same by themselves")


def test_hidden_states_of_a_sequence_in_a_batch_of_its_own_are_identical_in_any_order(trunk, ragged):
    def states_of(index):
        batch = PackedBatch.from_ragged(*ragged, index=np.array([index]))
        last, states = trunk.forward_packed(batch, output_hidden_states=True)
        assert torch.equal(last, states[-1])
        assert len(states) == CONFIG.n_layers + 1
        return states

    with torch.inference_mode():
        expected = [states_of(i) for i in EVERYONE]
        for i in EVERYONE[::-1]:
            assert all(torch.equal(one, other) for one, other in zip(states_of(i), expected[i], strict=True))


def test_another_neighbour_changes_nothing_a_sequence_can_see(trunk, ragged):
    ids, cu_seqlens, langs = ragged
    other = ids.copy()
    other[: cu_seqlens[5]] = 3  # all that stands before sequence 5
    with torch.inference_mode():
        a = trunk.forward_packed(PackedBatch.from_ragged(ids, cu_seqlens, langs))
        b = trunk.forward_packed(PackedBatch.from_ragged(other, cu_seqlens, langs))
    assert torch.equal(a[cu_seqlens[5] :], b[cu_seqlens[5] :])  # same shapes, same kernels: to the byte
    assert not torch.equal(a[: cu_seqlens[5]], b[: cu_seqlens[5]])


@pytest.mark.parametrize("name", POOLINGS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_pooling_is_that_of_each_sequence_alone(name, dtype):
    hidden = torch.randn(LENGTHS.sum(), 24).to(dtype)
    cu_seqlens = torch.from_numpy(cumulative_lengths(LENGTHS))
    pooled = POOLINGS[name](hidden, cu_seqlens)
    assert pooled.dtype == torch.float32
    for i, part in enumerate(hidden.split(LENGTHS.tolist())):
        alone = POOLINGS[name](part, torch.tensor([0, len(part)]))
        assert torch.equal(pooled[i], alone[0])
        by_hand = {"first": part[0], "last": part[-1], "mean": part.double().mean(0), "max": part.amax(0)}[name]
        torch.testing.assert_close(pooled[i].double(), by_hand.double(), atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"input_ids": [3, 500]}, r"input_ids: got 3 to 500, expected 0 to 499 \(vocab_size is 500\)"),
        ({"input_ids": [3, -1]}, "input_ids: got -1 to 3"),
        ({"langs": [5, 5]}, r"langs: got 5 to 5, expected -1 to 4 \(n_langs is 5\)"),
        ({"positions": [0, 128]}, r"positions: got 0 to 128, expected 0 to 127 .*the longest of 1 .* 2 tokens"),
    ],
)
def test_what_no_table_has_a_row_for_is_refused(trunk, change, message):
    parts = {"input_ids": [3, 4], "positions": [0, 1], "cu_seqlens": [0, 2], "langs": [0, 0]} | change
    batch = PackedBatch(**{name: torch.tensor(values) for name, values in parts.items()})
    with pytest.raises(ValueError, match=message):
        trunk.forward_packed(batch)


def test_a_sequence_that_is_too_long_is_refused(trunk):
    ids = np.full(129, 3)
    with pytest.raises(ValueError, match=r"max_position_embeddings is 128.*1 sequences has 129 tokens"):
        trunk.forward_packed(PackedBatch.from_ragged(ids, np.array([0, 129])))


def test_bfloat16_stays_close(ragged):
    model = build(XLMModel)
    batch = PackedBatch.from_ragged(*ragged)
    with torch.inference_mode():
        expected = model.forward_packed(batch)
        got = model.to(torch.bfloat16).forward_packed(batch)
    assert got.dtype == torch.bfloat16
    assert torch.nn.functional.cosine_similarity(got.float(), expected).min() > 0.999
