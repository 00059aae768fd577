"""Attention plans compared with the attention formula, and the choice of the kernel."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import FakeTensorMode

from xlm_core.model.attention import (
    ExplicitPlan,
    GroupedPlan,
    VarlenPlan,
    choose_attention,
    device_capability,
    round_up,
)
from xlm_core.model.packing import PackedBatch
from xlm_core.model.padding import pack_padded
from xlm_core.ragged import cumulative_lengths

CUDA = torch.device("cuda")


def packed(lengths, device="cpu"):
    cu_seqlens = cumulative_lengths(np.array(lengths))
    return PackedBatch.from_ragged(np.ones(sum(lengths), dtype=np.int32), cu_seqlens).to(device)


def attention_formula(qkv, lengths, causal):
    """Compute softmax(q·k / sqrt(H)) v for each sequence separately, in float64."""
    contexts = []
    for part in qkv.double().split(lengths):
        q, k, v = (x.transpose(0, 1) for x in part.unbind(1))
        scores = q @ k.transpose(1, 2) / q.shape[-1] ** 0.5
        if causal:
            scores = scores.masked_fill(torch.ones_like(scores[0], dtype=torch.bool).triu(1), -torch.inf)
        contexts.append((scores.softmax(-1) @ v).transpose(0, 1))
    return torch.cat(contexts)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 20), min_size=1, max_size=9), st.booleans(), st.booleans())
def test_grouped_attention_equals_the_formula_for_any_order_of_lengths(lengths, causal, with_gradients):
    qkv = torch.randn(sum(lengths), 3, 2, 4)
    with torch.set_grad_enabled(with_gradients):
        plan = GroupedPlan.from_batch(packed(lengths), causal, 0.0)
        context = plan.to_batch_order(plan.attend(plan.to_plan_order(qkv)))
    torch.testing.assert_close(context.double(), attention_formula(qkv, lengths, causal), atol=1e-6, rtol=0)


def test_batches_have_few_different_sizes():
    """Each size costs time and memory: oneDNN builds and keeps kernels for it."""
    sizes = {num_tokens: round_up(num_tokens) for num_tokens in range(1, 4097)}
    assert len(set(sizes.values())) < 150
    assert all(num_tokens <= size <= num_tokens * 17 / 16 for num_tokens, size in sizes.items())
    with torch.no_grad():
        plan = GroupedPlan.from_batch(packed([100, 7]), causal=False, dropout=0.0)
    assert plan.to_plan_order(torch.ones(107, 2)).shape == (108, 2)


@settings(max_examples=30, deadline=None)
@given(st.data(), st.booleans())
def test_explicit_attention_equals_the_formula_for_any_mask_and_stores_its_probabilities(data, causal):
    shape = data.draw(st.tuples(st.integers(1, 4), st.integers(1, 6)))
    mask = torch.tensor(data.draw(st.lists(st.booleans(), min_size=shape[0] * shape[1], max_size=shape[0] * shape[1])))
    mask = mask.view(shape)
    mask[:, -1] |= ~mask.any(dim=1)  # every row has a token
    batch, layout = pack_padded(torch.ones(shape, dtype=torch.int64), mask)
    plan = ExplicitPlan.from_layout(layout, causal, 0.0)
    qkv, lengths = torch.randn(batch.num_tokens, 3, 2, 4), batch.lengths.tolist()
    context = plan.to_batch_order(plan.attend(plan.to_plan_order(qkv)))
    torch.testing.assert_close(context.double(), attention_formula(qkv, lengths, causal), atol=1e-6, rtol=0)

    (weights,) = plan.probabilities
    assert weights.shape == (shape[0], 2, shape[1], shape[1])
    values = layout.unpack(qkv[:, 2]).transpose(1, 2)
    torch.testing.assert_close(layout.pack((weights @ values).transpose(1, 2)), context, atol=1e-6, rtol=0)
    torch.testing.assert_close(weights.sum(-1), mask[:, None].expand(-1, 2, -1).float(), atol=1e-6, rtol=0)
    assert not weights.masked_fill(mask[:, None, None], 0).any()
    assert not causal or not weights.triu(1).any()


def test_tokens_are_reordered_only_if_sequences_of_equal_length_are_not_adjacent():
    assert GroupedPlan.from_batch(packed([2, 2, 5, 1, 1]), False, 0.0).order is None
    mixed = GroupedPlan.from_batch(packed([2, 5, 2, 5]), False, 0.0)
    assert mixed.groups == ((0, 2, 5), (10, 2, 2))
    assert mixed.order is not None


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, VarlenPlan),
        ({"dtype": torch.float16}, VarlenPlan),
        ({"dtype": torch.float32}, GroupedPlan),
        ({"device": torch.device("cpu")}, GroupedPlan),
        ({"head_dim": 20}, GroupedPlan),
        ({"head_dim": 264}, GroupedPlan),
        ({"dropout": 0.1}, GroupedPlan),
        ({"capability": (7, 5)}, GroupedPlan),
    ],
)
def test_flash_kernel_is_chosen_where_it_is_supported(changed, expected):
    arguments = {"device": CUDA, "dtype": torch.bfloat16, "head_dim": 128, "dropout": 0.0, "capability": (9, 0)}
    if torch.version.hip is not None:
        expected = GroupedPlan
    plan = choose_attention(**(arguments | changed))(packed([2, 1]), False, arguments["dropout"])
    assert type(plan) is expected


@pytest.mark.parametrize("causal", [False, True])
def test_flash_kernel_accepts_the_arguments(causal):
    """Uses fake CUDA tensors, so that shapes and arguments are checked on machines without a GPU too."""
    plan = VarlenPlan.from_batch(packed([3, 2]), causal, 0.0)
    with FakeTensorMode(allow_non_fake_inputs=True):
        qkv = torch.empty(5, 3, 2, 16, dtype=torch.bfloat16, device="cuda")
        assert plan.attend(qkv).shape == (5, 2, 16)
    assert plan.window == ((-1, 0) if causal else (-1, -1))
    batch = packed([3, 2])
    long = PackedBatch(batch.input_ids, batch.positions, batch.cu_seqlens.long())
    assert VarlenPlan.from_batch(long, causal, 0.0).cu_seqlens.dtype == plan.cu_seqlens.dtype == torch.int32


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("causal", [False, True])
def test_flash_kernel_equals_the_formula(causal):
    lengths = [7, 1, 130, 64, 7]
    assert device_capability(CUDA) >= (8, 0)
    plan = VarlenPlan.from_batch(packed(lengths, "cuda"), causal, 0.0)
    qkv = torch.randn(sum(lengths), 3, 2, 64, dtype=torch.bfloat16, device="cuda")
    difference = plan.attend(qkv).double() - attention_formula(qkv, lengths, causal)
    assert difference.abs().max() < 2e-2
