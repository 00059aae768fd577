"""Packed batches, padded tensors and the planning of batches."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from xlm_core.model.packing import PackedBatch, cumulative_lengths, plan_batches, take_ragged
from xlm_core.model.padding import pack_padded

some_lengths = st.lists(st.integers(1, 9), min_size=1, max_size=12)


def ragged(lengths, seed=0):
    generator = np.random.default_rng(seed)
    return generator.integers(3, 50, sum(lengths), dtype=np.int32), cumulative_lengths(np.array(lengths))


@given(st.lists(st.integers(1, 60), max_size=40), st.integers(1, 100))
def test_a_plan_holds_every_sequence_once_within_the_budget(lengths, max_tokens):
    array = np.array(lengths, dtype=np.int32)
    plan = plan_batches(array, max_tokens)
    assert sorted(i for batch in plan for i in batch.tolist()) == list(range(len(lengths)))
    for batch in plan:
        assert array[batch].sum() <= max_tokens or len(batch) == 1
    in_order = [int(array[i]) for batch in plan for i in batch]
    assert in_order == sorted(lengths, reverse=True)
    for batch, following in pairwise(plan):  # greedy: the next one would not have fitted
        assert array[batch].sum() + array[following[0]] > max_tokens


def test_equal_lengths_keep_their_order_and_the_plan_repeats():
    lengths = np.tile([3, 5], 100)  # NumPy sorts short arrays stably by whatever method
    plan, again = plan_batches(lengths, 10_000), plan_batches(lengths, 10_000)
    assert [batch.tolist() for batch in plan] == [[*range(1, 200, 2), *range(0, 200, 2)]]
    assert all((a == b).all() for a, b in zip(plan, again, strict=True))


def test_large_sums_do_not_overflow():
    lengths = np.full(3, 2**30, dtype=np.int32)
    assert [len(batch) for batch in plan_batches(lengths, 2**31)] == [2, 1]


def test_a_budget_of_nothing_is_refused():
    with pytest.raises(ValueError, match="max_tokens: expected at least 1, got 0"):
        plan_batches(np.array([1]), 0)


@given(some_lengths, st.data())
def test_sequences_taken_are_the_ones_asked_for(lengths, data):
    values, cu_seqlens = ragged(lengths)
    index = np.array(data.draw(st.lists(st.integers(0, len(lengths) - 1), min_size=1)))
    taken, cu_taken = take_ragged(values, cu_seqlens, index)
    expected = [values[cu_seqlens[i] : cu_seqlens[i + 1]].tolist() for i in index]
    assert [taken[a:b].tolist() for a, b in pairwise(cu_taken)] == expected


@given(some_lengths)
def test_a_batch_from_ragged_arrays(lengths):
    values, cu_seqlens = ragged(lengths)
    langs = np.arange(len(lengths), dtype=np.int32) - 1  # the first has none
    batch = PackedBatch.from_ragged(values, cu_seqlens, langs)
    assert batch.input_ids.tolist() == values.tolist()
    assert batch.lengths.tolist() == lengths
    assert batch.max_seqlen == max(lengths)
    assert batch.positions.tolist() == [p for length in lengths for p in range(length)]
    assert batch.cu_seqlens.dtype == torch.int32
    if len(lengths) == 1:
        assert batch.langs is None  # none of them has a language
    else:
        assert batch.langs is not None
        assert batch.langs.tolist() == [i - 1 for i, n in enumerate(lengths) for _ in range(n)]
    assert batch.metadata.ids == (values.min(), values.max())


def test_a_batch_does_not_share_memory_with_its_arrays():
    values, cu_seqlens = ragged([2, 3])
    batch = PackedBatch.from_ragged(values, cu_seqlens)
    values[:] = 0
    assert batch.input_ids.min() > 0


def test_an_index_takes_each_sequence_as_a_batch_of_its_own():
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
def test_a_batch_that_is_not_whole_is_refused(cu_seqlens):
    with pytest.raises(ValueError, match="cu_seqlens: expected 0 first, then strictly increasing to 5"):
        PackedBatch(torch.arange(5), torch.arange(5), torch.tensor(cu_seqlens, dtype=torch.int32))


def test_languages_must_be_one_per_sequence():
    values, cu_seqlens = ragged([2, 5, 1])
    with pytest.raises(ValueError, match=r"langs: expected one per sequence \(3\), got 8"):
        PackedBatch.from_ragged(values, cu_seqlens, np.zeros(8, dtype=np.int32))


@given(st.integers(1, 5), st.integers(1, 8), st.data())
def test_padded_tensors_and_back(num_sequences, length, data):
    keep = data.draw(
        st.lists(st.lists(st.booleans(), min_size=length, max_size=length).filter(any),
                 min_size=num_sequences, max_size=num_sequences)
    )  # fmt: skip
    mask = torch.tensor(keep)
    ids = torch.arange(1, num_sequences * length + 1).view(num_sequences, length)
    batch, layout = pack_padded(ids, attention_mask=mask, langs=ids + 100)
    assert batch.input_ids.tolist() == ids[mask].tolist()
    assert batch.lengths.tolist() == mask.sum(1).tolist()
    assert batch.positions.tolist() == torch.arange(length).expand_as(ids)[mask].tolist()  # the columns
    assert batch.langs.tolist() == (ids + 100)[mask].tolist()
    assert torch.equal(layout.unpack(batch.input_ids), ids * mask)
    vectors = torch.randn(batch.num_tokens, 3)
    assert torch.equal(layout.pack(layout.unpack(vectors)), vectors)


PAD = 2


def test_without_a_mask_the_length_is_the_number_of_other_ids():
    ids = torch.tensor([[5, PAD, 6, PAD], [7, 8, 9, 4]])  # a pad inside shortens the prefix, as in the reference
    batch, _ = pack_padded(ids, pad_index=PAD)
    assert batch.input_ids.tolist() == [5, PAD, 7, 8, 9, 4]


def test_lengths_and_positions_of_the_caller_are_used():
    ids = torch.tensor([[5, PAD, 6, 4], [7, 8, 9, 4]])
    positions = torch.tensor([[9, 8, 7, 6]])
    batch, _ = pack_padded(ids, lengths=torch.tensor([3, 1]), position_ids=positions, pad_index=PAD)
    assert batch.input_ids.tolist() == [5, PAD, 6, 7]
    assert batch.positions.tolist() == [9, 8, 7, 9]
    batch, _ = pack_padded(ids, lengths=torch.tensor([3, 1]), position_ids=positions[0], pad_index=PAD)
    assert batch.positions.tolist() == [9, 8, 7, 9]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"attention_mask": torch.ones(2, 3)}, r"attention_mask: expected shape \[2, 4\], got \[2, 3\]"),
        ({"langs": torch.ones(2)}, r"langs: expected shape \[2, 4\], got \[2\]"),
        ({"lengths": torch.tensor([5, 1])}, "lengths: expected at most the 4 columns, got 5"),
        ({"lengths": torch.tensor([[4], [1]])}, r"lengths: expected shape \[2\], got \[2, 1\]"),
        ({"lengths": torch.tensor([], dtype=torch.int64)}, r"lengths: expected shape \[2\], got \[0\]"),
        ({"position_ids": torch.ones(3, 4)}, r"position_ids: expected shape \[2, 4\], got \[3, 4\]"),
        ({"position_ids": torch.ones(1, 3)}, r"position_ids: expected shape \[2, 4\], got \[1, 3\]"),
        ({"lengths": torch.tensor([3, 0])}, "row 1 of the batch has no token"),
        ({"attention_mask": torch.tensor([[0] * 4, [1] * 4])}, "row 0 of the batch has no token"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        pack_padded(torch.ones(2, 4, dtype=torch.int64), **arguments)


def test_index_tensors_of_other_kinds_are_refused():
    ids, positions, borders = torch.arange(4), torch.arange(4), torch.tensor([0, 4], dtype=torch.int32)
    for change, name in (
        ({"input_ids": ids.float()}, "input_ids"),
        ({"input_ids": ids[None], "positions": positions[None]}, "input_ids"),
        ({"cu_seqlens": torch.tensor([0.0, 4.0])}, "cu_seqlens"),
        ({"langs": torch.zeros(4, dtype=torch.uint8)}, "langs"),
    ):
        arguments = {"input_ids": ids, "positions": positions, "cu_seqlens": borders} | change
        with pytest.raises(ValueError, match=rf"{name}: expected int32 or int64 \[T\]"):
            PackedBatch(**arguments)
