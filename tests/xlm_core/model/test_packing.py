"""Packed batches and the planning of batches."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from xlm_core.model.packing import PackedBatch
from xlm_core.ragged import cumulative_lengths, plan_batches, take_ragged

some_lengths = st.lists(st.integers(1, 9), min_size=1, max_size=12)


def ragged(lengths, seed=0):
    generator = np.random.default_rng(seed)
    return generator.integers(3, 50, sum(lengths), dtype=np.int32), cumulative_lengths(np.array(lengths))


@given(st.lists(st.integers(1, 60), max_size=40), st.integers(1, 100))
def test_plan_contains_every_sequence_once_and_keeps_the_budget(lengths, max_tokens):
    array = np.array(lengths, dtype=np.int32)
    plan = plan_batches(array, max_tokens)
    assert sorted(i for batch in plan for i in batch.tolist()) == list(range(len(lengths)))
    for batch in plan:
        assert array[batch].sum() <= max_tokens or len(batch) == 1
    in_order = [int(array[i]) for batch in plan for i in batch]
    assert in_order == sorted(lengths, reverse=True)
    for batch, following in pairwise(plan):  # greedy: the next sequence would exceed the budget
        assert array[batch].sum() + array[following[0]] > max_tokens


def test_equal_lengths_keep_their_order_and_plans_are_deterministic():
    lengths = np.tile([3, 5], 100)  # longer than the arrays that NumPy always sorts stably
    plan, again = plan_batches(lengths, 10_000), plan_batches(lengths, 10_000)
    assert [batch.tolist() for batch in plan] == [[*range(1, 200, 2), *range(0, 200, 2)]]
    assert all((a == b).all() for a, b in zip(plan, again, strict=True))


def test_sums_of_large_lengths_do_not_overflow():
    lengths = np.full(3, 2**30, dtype=np.int32)
    assert [len(batch) for batch in plan_batches(lengths, 2**31)] == [2, 1]


def test_budget_of_zero_raises_an_error():
    with pytest.raises(ValueError, match="max_tokens: got 0, expected at least 1"):
        plan_batches(np.array([1]), 0)


@given(some_lengths, st.data())
def test_take_ragged_returns_the_selected_sequences(lengths, data):
    values, cu_seqlens = ragged(lengths)
    index = np.array(data.draw(st.lists(st.integers(0, len(lengths) - 1), min_size=1)))
    taken, cu_taken = take_ragged(values, cu_seqlens, index)
    expected = [values[cu_seqlens[i] : cu_seqlens[i + 1]].tolist() for i in index]
    assert [taken[a:b].tolist() for a, b in pairwise(cu_taken)] == expected


@given(some_lengths)
def test_from_ragged_computes_all_fields(lengths):
    values, cu_seqlens = ragged(lengths)
    langs = np.arange(len(lengths), dtype=np.int32) - 1  # -1: the first has no language
    batch = PackedBatch.from_ragged(values, cu_seqlens, langs)
    assert batch.input_ids.tolist() == values.tolist()
    assert batch.lengths.tolist() == lengths
    assert batch.max_seqlen == max(lengths)
    assert batch.positions.tolist() == [p for length in lengths for p in range(length)]
    assert batch.cu_seqlens.dtype == torch.int32
    if len(lengths) == 1:
        assert batch.langs is None  # no sequence has a language
    else:
        assert batch.langs is not None
        assert batch.langs.tolist() == [i - 1 for i, n in enumerate(lengths) for _ in range(n)]
    assert batch.metadata.input_ids_range == (values.min(), values.max())


def test_batch_does_not_share_memory_with_its_arrays():
    values, cu_seqlens = ragged([2, 3])
    batch = PackedBatch.from_ragged(values, cu_seqlens)
    values[:] = 0
    assert batch.input_ids.min() > 0


def test_index_selects_a_single_sequence():
    values, cu_seqlens = ragged([2, 5, 1])
    langs = np.array([1, -1, 0], dtype=np.int32)
    parts = [PackedBatch.from_ragged(values, cu_seqlens, langs, index=np.array([i])) for i in range(3)]
    for i, part in enumerate(parts):
        length = int(cu_seqlens[i + 1] - cu_seqlens[i])
        assert part.input_ids.tolist() == values[cu_seqlens[i] : cu_seqlens[i + 1]].tolist()
        assert part.positions.tolist() == list(range(length))
        assert part.cu_seqlens.tolist() == [0, length]
        assert part.lengths.tolist() == [length]
    assert [None if part.langs is None else part.langs.tolist() for part in parts] == [[1, 1], None, [0]]


@pytest.mark.parametrize("cu_seqlens", [[0], [0, 2, 2, 5], [1, 5], [0, 4], [0, 3, 2, 5]])
def test_inconsistent_cu_seqlens_raise_an_error(cu_seqlens):
    with pytest.raises(ValueError, match=r"cu_seqlens: got .*, expected 0 first, then strictly increasing .* up to 5"):
        PackedBatch(torch.arange(5), torch.arange(5), torch.tensor(cu_seqlens, dtype=torch.int32))


def test_number_of_langs_must_equal_the_number_of_sequences():
    values, cu_seqlens = ragged([2, 5, 1])
    with pytest.raises(ValueError, match=r"langs: got 8, expected one per sequence \(3\)"):
        PackedBatch.from_ragged(values, cu_seqlens, np.zeros(8, dtype=np.int32))


def test_tensors_of_other_dtypes_or_dimensions_raise_an_error():
    ids, positions, cu_seqlens = torch.arange(4), torch.arange(4), torch.tensor([0, 4], dtype=torch.int32)
    for change, name in (
        ({"input_ids": ids.float()}, "input_ids"),
        ({"input_ids": ids[None], "positions": positions[None]}, "input_ids"),
        ({"cu_seqlens": torch.tensor([0.0, 4.0])}, "cu_seqlens"),
        ({"langs": torch.zeros(4, dtype=torch.uint8)}, "langs"),
    ):
        arguments = {"input_ids": ids, "positions": positions, "cu_seqlens": cu_seqlens} | change
        with pytest.raises(ValueError, match=rf"{name}: got .*, expected int32 or int64 \[T\]"):
            PackedBatch(**arguments)
