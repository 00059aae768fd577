"""Attention probabilities of every layer, compared with the reference."""

import pytest
import torch
import transformers

from tests.parity.reference_model import HIDDEN, padded, reference, save, sequences
from xlm_core import XLMModel
from xlm_core.model.attention import GroupedPlan

pytestmark = pytest.mark.usefixtures("no_gradients")


@pytest.mark.parametrize("causal", [False, True])
def test_attention_probabilities_of_a_padded_batch(tmp_path, parity, causal):
    theirs = reference(transformers.XLMModel, causal=causal)
    ours = XLMModel.from_pretrained(save(theirs, tmp_path, "safetensors"))
    samples = sequences()
    ids, langs, mask = padded(samples)
    output = ours(ids, mask, langs=langs, output_attentions=True, output_hidden_states=True)
    case = "causal" if causal else "masked"
    for row, (row_ids, row_langs) in enumerate(samples):
        alone = theirs(row_ids, langs=row_langs, output_attentions=True, output_hidden_states=True)
        own = slice(0, row_ids.shape[1])
        parity("trunk, attention of every layer", f"{case}, alone", [
            layer_BNLL[row : row + 1, :, own, own] for layer_BNLL in output.attentions
        ], alone.attentions, HIDDEN)  # fmt: skip
        parity("trunk, every layer", f"{case}, with attentions", [
            state_BLD[row : row + 1, own] for state_BLD in output.hidden_states
        ], alone.hidden_states, HIDDEN)  # fmt: skip
    real = (mask[:, :, None] * mask[:, None, :])[:, None]
    for layer_BNLL in output.attentions:
        assert not (layer_BNLL * (1 - real)).any()  # 0 in the rows and columns of pads
        torch.testing.assert_close(layer_BNLL.sum(-1), mask[:, None].expand(-1, 4, -1).float(), atol=1e-6, rtol=0)

    # the reference also fills the rows of pads; all other values of a batch are equal
    expected = theirs(ids, attention_mask=mask, langs=langs, output_attentions=True).attentions
    keep = real if not causal else mask[:, None, :, None]
    parity("trunk, attention of every layer", f"{case}, padded", list(output.attentions), [
        layer * keep for layer in expected
    ], HIDDEN)  # fmt: skip


def test_attention_probabilities_are_in_the_padded_columns_for_any_mask(tmp_path, parity):
    theirs = reference(transformers.XLMModel)
    ours = XLMModel.from_pretrained(save(theirs, tmp_path, "safetensors"))
    ids, langs, _ = padded(sequences([9, 9]))
    mask = torch.tensor([[0, 0, 1, 1, 1, 1, 1, 1, 1], [1, 0, 1, 1, 0, 0, 1, 1, 0]])
    got = ours(ids, mask, langs=langs, output_attentions=True)
    expected = theirs(ids, attention_mask=mask, langs=langs, output_attentions=True)
    rows = mask[:, None, :, None]
    parity("trunk, attention of every layer", "left padding and gaps", list(got.attentions), [
        layer * rows for layer in expected.attentions
    ], HIDDEN)  # fmt: skip


def test_requesting_attentions_does_not_affect_later_calls(tmp_path):
    ours = XLMModel.from_pretrained(save(reference(transformers.XLMModel), tmp_path, "safetensors"))
    (ids, langs), *_ = sequences([7])
    assert len(ours(ids, langs=langs, output_attentions=True).attentions) == 2
    assert ours(ids, langs=langs).attentions is None
    assert ours.attention_planner == GroupedPlan.from_batch
