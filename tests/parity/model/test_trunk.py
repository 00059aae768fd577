"""The trunk against the reference: random weights, through real files, every layer."""

import numpy as np
import pytest
import torch
import transformers

from tests.parity.reference_model import (
    HIDDEN,
    LENGTHS,
    LOGITS,
    MAX_POSITIONS,
    pack,
    padded,
    reference,
    save,
    sequences,
)
from xlm_core import XLMModel
from xlm_core.model.attention import GroupedPlan, VarlenPlan
from xlm_core.model.packing import PackedBatch

pytestmark = pytest.mark.usefixtures("no_gradients")

VARIANTS = {
    "languages": {},
    "no language vectors": {"use_lang_emb": False},
    "one language": {"n_langs": 1},
    "sinusoidal": {"sinusoidal_embeddings": True},
    "relu": {"gelu_activation": False},
    "causal": {"causal": True},
    "three layers, other norm": {"n_layers": 3, "layer_norm_eps": 1e-3, "emb_dim": 48, "n_heads": 3},
    "feed-forward in chunks": {"chunk_size_feed_forward": 1},
}


@pytest.mark.parametrize("form", ["safetensors", "bin", "old bin"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_layer(tmp_path, parity, variant, form):
    theirs = reference(transformers.XLMModel, **VARIANTS[variant])
    ours = XLMModel.from_pretrained(save(theirs, tmp_path, form))
    drawn = sequences()
    alone = [theirs(ids, langs=langs, output_hidden_states=True).hidden_states for ids, langs in drawn]

    def near(got, expected):
        parity("trunk, every layer", f"{variant}, {form}", got, expected, HIDDEN)

    for one, expected in zip(drawn, alone, strict=True):
        last, states = ours.forward_packed(pack([one]), output_hidden_states=True)
        assert torch.equal(last, states[-1])
        near([state_TD[None] for state_TD in states], expected)

    last, states = ours.forward_packed(pack(drawn), output_hidden_states=True)
    near(states, [torch.cat([state[0] for state in layer]) for layer in zip(*alone, strict=True)])
    assert torch.equal(ours.forward_packed(pack(drawn)), last)

    ids, langs, mask = padded(drawn)
    lengths = torch.tensor(LENGTHS)
    for arguments in ({"attention_mask": mask}, {"lengths": lengths}, {}):
        output = ours(ids, langs=langs, output_hidden_states=True, **arguments)
        expected = theirs(ids, langs=langs, output_hidden_states=True, **arguments)
        near(list(output.hidden_states), list(expected.hidden_states))
        near(output.last_hidden_state, expected.last_hidden_state)


@pytest.mark.parametrize("causal", [False, True])
def test_the_attention_of_every_layer(tmp_path, parity, causal):
    theirs = reference(transformers.XLMModel, causal=causal)
    ours = XLMModel.from_pretrained(save(theirs, tmp_path, "safetensors"))
    drawn = sequences()
    ids, langs, mask = padded(drawn)
    output = ours(ids, mask, langs=langs, output_attentions=True, output_hidden_states=True)
    case = "causal" if causal else "masked"
    for row, (row_ids, row_langs) in enumerate(drawn):
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
        assert not (layer_BNLL * (1 - real)).any()  # neither a pad's row nor its column
        torch.testing.assert_close(layer_BNLL.sum(-1), mask[:, None].expand(-1, 4, -1).float(), atol=1e-6, rtol=0)

    # the reference gives the pads a row too; all other numbers are the same in a batch
    expected = theirs(ids, attention_mask=mask, langs=langs, output_attentions=True).attentions
    keep = real if not causal else mask[:, None, :, None]
    parity("trunk, attention of every layer", f"{case}, padded", list(output.attentions), [
        layer * keep for layer in expected
    ], HIDDEN)  # fmt: skip


def test_attention_in_a_mask_of_any_pattern_stands_in_the_padded_columns(tmp_path, parity):
    theirs = reference(transformers.XLMModel)
    ours = XLMModel.from_pretrained(save(theirs, tmp_path, "safetensors"))
    ids, langs, _ = padded(sequences([9, 9]))
    mask = torch.tensor([[0, 0, 1, 1, 1, 1, 1, 1, 1], [1, 0, 1, 1, 0, 0, 1, 1, 0]])
    got = ours(ids, mask, langs=langs, output_attentions=True)
    expected = theirs(ids, attention_mask=mask, langs=langs, output_attentions=True)
    rows = mask[:, None, :, None]
    parity("trunk, attention of every layer", "left padding and holes", list(got.attentions), [
        layer * rows for layer in expected.attentions
    ], HIDDEN)  # fmt: skip


def test_attentions_are_of_that_call_only(tmp_path):
    ours = XLMModel.from_pretrained(save(reference(transformers.XLMModel), tmp_path, "safetensors"))
    (ids, langs), *_ = sequences([7])
    assert len(ours(ids, langs=langs, output_attentions=True).attentions) == 2
    assert ours(ids, langs=langs).attentions is None
    assert ours.attention_planner == GroupedPlan.from_batch


def test_a_mask_of_any_pattern(tmp_path, parity):
    theirs = reference(transformers.XLMModel)
    ours = XLMModel.from_pretrained(save(theirs, tmp_path, "safetensors"))
    ids, langs, _ = padded(sequences([MAX_POSITIONS] * 4))
    mask = torch.ones_like(ids)
    mask[0, :9] = 0  # left padding
    mask[1, 4:11] = 0  # a hole
    mask[2, ::2] = 0
    expected = theirs(ids, langs=langs, attention_mask=mask).last_hidden_state
    got = ours(ids, langs=langs, attention_mask=mask).last_hidden_state
    parity("trunk, last layer", "left padding and holes", got, expected, HIDDEN)


def test_no_language_is_the_reference_without_langs(tmp_path, parity):
    theirs = reference(transformers.XLMModel)
    ours = XLMModel.from_pretrained(save(theirs, tmp_path, "safetensors"))
    drawn = sequences([6, 4, 9])
    ids = np.concatenate([ids[0].numpy() for ids, _ in drawn]).astype(np.int32)
    batch = PackedBatch.from_ragged(ids, np.array([0, 6, 10, 19]), langs=np.array([1, -1, 2]))
    expected = [
        theirs(drawn[0][0], langs=torch.full((1, 6), 1)).last_hidden_state[0],
        theirs(drawn[1][0]).last_hidden_state[0],
        theirs(drawn[2][0], langs=torch.full((1, 9), 2)).last_hidden_state[0],
    ]
    got = ours.forward_packed(batch).split([6, 4, 9])
    parity("trunk, last layer", "a language per sequence, or none", list(got), expected, HIDDEN)


def test_training_dropout_is_placed_as_in_the_reference(tmp_path):
    """With the same seed the masks differ in order of drawing, so compare the mean over many passes."""
    theirs = reference(transformers.XLMModel, dropout=0.3, attention_dropout=0.4).train()
    ours = XLMModel.from_pretrained(save(theirs, tmp_path, "safetensors")).train()
    (ids, langs), *_ = sequences([8])
    many = (ids.expand(3000, -1), langs.expand(3000, -1))
    torch.manual_seed(0)
    expected = theirs(many[0], langs=many[1]).last_hidden_state
    for with_attentions in (False, True):
        got = ours(many[0], langs=many[1], output_attentions=with_attentions).last_hidden_state
        assert (got.mean(0) - expected.mean(0)).abs().max() < 0.1
        assert (got.std(0) - expected.std(0)).abs().max() < 0.1
    evaluated = ours.eval()(*many[:1], langs=many[1]).last_hidden_state
    assert (evaluated[0] - got.mean(0)).abs().max() > 0.1  # so dropout did something


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("causal", [False, True])
def test_on_a_gpu(tmp_path, parity, causal):
    theirs = reference(transformers.XLMModel, causal=causal)
    save(theirs, tmp_path, "safetensors")
    drawn = sequences()
    expected = torch.cat([theirs(ids, langs=langs).last_hidden_state[0] for ids, langs in drawn])
    model = XLMModel.from_pretrained(tmp_path, device="cuda")
    got = model.forward_packed(pack(drawn).to("cuda"))
    parity("trunk, last layer", "on a GPU, causal" if causal else "on a GPU", got, expected, LOGITS)
    exact_kernel, half = model.attention_planner, model.to(torch.bfloat16)
    assert (exact_kernel, half.attention_planner) == (GroupedPlan.from_batch, VarlenPlan.from_batch)
    got = half.forward_packed(pack(drawn).to("cuda")).float().cpu()
    assert torch.nn.functional.cosine_similarity(got, expected).min() > 0.99
    assert half.train().attention_planner == GroupedPlan.from_batch  # the flash kernel has no dropout
    assert half.eval().attention_planner == VarlenPlan.from_batch
