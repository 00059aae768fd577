"""Packing padded tensors and unpacking the results."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from xlm_core.model.padding import pack_padded

PAD = 2


@given(st.integers(1, 5), st.integers(1, 8), st.data())
def test_unpacking_inverts_packing_for_any_mask(num_sequences, length, data):
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


def test_without_a_mask_the_length_is_the_number_of_ids_that_are_not_pads():
    ids = torch.tensor([[5, PAD, 6, PAD], [7, 8, 9, 4]])  # as in the reference, the inner pad shortens the row
    batch, _ = pack_padded(ids, pad_index=PAD)
    assert batch.input_ids.tolist() == [5, PAD, 7, 8, 9, 4]


def test_given_lengths_and_position_ids_are_used():
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
        ({"attention_mask": torch.ones(2, 3)}, r"attention_mask: got shape \[2, 3\], expected \[2, 4\]"),
        ({"langs": torch.ones(2)}, r"langs: got shape \[2\], expected \[2, 4\]"),
        ({"lengths": torch.tensor([5, 1])}, r"lengths: got 5, expected at most 4 \(the number of columns\)"),
        ({"lengths": torch.tensor([[4], [1]])}, r"lengths: got shape \[2, 1\], expected \[2\]"),
        ({"lengths": torch.tensor([], dtype=torch.int64)}, r"lengths: got shape \[0\], expected \[2\]"),
        ({"position_ids": torch.ones(3, 4)}, r"position_ids: got shape \[3, 4\], expected \[2, 4\]"),
        ({"position_ids": torch.ones(1, 3)}, r"position_ids: got shape \[1, 3\], expected \[2, 4\]"),
        ({"lengths": torch.tensor([3, 0])}, "row 1 of the batch has no token"),
        ({"attention_mask": torch.tensor([[0] * 4, [1] * 4])}, "row 0 of the batch has no token"),
    ],
)
def test_mismatched_arguments_raise_an_error(arguments, message):
    with pytest.raises(ValueError, match=message):
        pack_padded(torch.ones(2, 4, dtype=torch.int64), **arguments)
