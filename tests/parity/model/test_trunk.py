"""Hidden states of every layer, compared with the reference; weights are random and loaded from files."""

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
    "no language embeddings": {"use_lang_emb": False},
    "one language": {"n_langs": 1},
    "sinusoidal": {"sinusoidal_embeddings": True},
    "relu": {"gelu_activation": False},
    "causal": {"causal": True},
    "three layers, other layer norm": {"n_layers": 3, "layer_norm_eps": 1e-3, "emb_dim": 48, "n_heads": 3},
    "feed-forward in chunks": {"chunk_size_feed_forward": 1},
}


@pytest.mark.parametrize("file_format", ["safetensors", "bin", "old bin"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_hidden_states_of_every_layer(tmp_path, parity, variant, file_format):
    theirs = reference(transformers.XLMModel, **VARIANTS[variant])
    ours = XLMModel.from_pretrained(save(theirs, tmp_path, file_format))
    samples = sequences()
    alone = [theirs(ids, langs=langs, output_hidden_states=True).hidden_states for ids, langs in samples]

    def compare(got, expected):
        parity("trunk, every layer", f"{variant}, {file_format}", got, expected, HIDDEN)

    for one, expected in zip(samples, alone, strict=True):
        last, states = ours.forward_packed(pack([one]), output_hidden_states=True)
        assert torch.equal(last, states[-1])
        compare([state_TD[None] for state_TD in states], expected)

    last, states = ours.forward_packed(pack(samples), output_hidden_states=True)
    compare(states, [torch.cat([state[0] for state in layer]) for layer in zip(*alone, strict=True)])
    assert torch.equal(ours.forward_packed(pack(samples)), last)

    ids, langs, mask = padded(samples)
    lengths = torch.tensor(LENGTHS)
    for arguments in ({"attention_mask": mask}, {"lengths": lengths}, {}):
        output = ours(ids, langs=langs, output_hidden_states=True, **arguments)
        expected = theirs(ids, langs=langs, output_hidden_states=True, **arguments)
        compare(list(output.hidden_states), list(expected.hidden_states))
        compare(output.last_hidden_state, expected.last_hidden_state)


def test_attention_mask_of_any_pattern(tmp_path, parity):
    theirs = reference(transformers.XLMModel)
    ours = XLMModel.from_pretrained(save(theirs, tmp_path, "safetensors"))
    ids, langs, _ = padded(sequences([MAX_POSITIONS] * 4))
    mask = torch.ones_like(ids)
    mask[0, :9] = 0  # left padding
    mask[1, 4:11] = 0  # a gap
    mask[2, ::2] = 0
    expected = theirs(ids, langs=langs, attention_mask=mask).last_hidden_state
    got = ours(ids, langs=langs, attention_mask=mask).last_hidden_state
    parity("trunk, last layer", "left padding and gaps", got, expected, HIDDEN)


def test_lang_of_minus_one_equals_the_reference_without_langs(tmp_path, parity):
    theirs = reference(transformers.XLMModel)
    ours = XLMModel.from_pretrained(save(theirs, tmp_path, "safetensors"))
    samples = sequences([6, 4, 9])
    ids = np.concatenate([ids[0].numpy() for ids, _ in samples]).astype(np.int32)
    batch = PackedBatch.from_ragged(ids, np.array([0, 6, 10, 19]), langs=np.array([1, -1, 2]))
    expected = [
        theirs(samples[0][0], langs=torch.full((1, 6), 1)).last_hidden_state[0],
        theirs(samples[1][0]).last_hidden_state[0],
        theirs(samples[2][0], langs=torch.full((1, 9), 2)).last_hidden_state[0],
    ]
    got = ours.forward_packed(batch).split([6, 4, 9])
    parity("trunk, last layer", "one language per sequence, or none", list(got), expected, HIDDEN)


def test_training_dropout_has_the_same_distribution_as_the_reference(tmp_path):
    """The dropout masks are drawn in another order, so means and deviations over many passes are compared."""
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
    assert (evaluated[0] - got.mean(0)).abs().max() > 0.1  # dropout has an effect


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("causal", [False, True])
def test_gpu_kernels(tmp_path, parity, causal):
    theirs = reference(transformers.XLMModel, causal=causal)
    save(theirs, tmp_path, "safetensors")
    samples = sequences()
    expected = torch.cat([theirs(ids, langs=langs).last_hidden_state[0] for ids, langs in samples])
    model = XLMModel.from_pretrained(tmp_path, device="cuda")
    got = model.forward_packed(pack(samples).to("cuda"))
    parity("trunk, last layer", "on a GPU, causal" if causal else "on a GPU", got, expected, LOGITS)
    exact_kernel, half = model.attention_planner, model.to(torch.bfloat16)
    assert (exact_kernel, half.attention_planner) == (GroupedPlan.from_batch, VarlenPlan.from_batch)
    got = half.forward_packed(pack(samples).to("cuda")).float().cpu()
    assert torch.nn.functional.cosine_similarity(got, expected).min() > 0.99
    assert half.train().attention_planner == GroupedPlan.from_batch  # the flash kernel has no dropout
    assert half.eval().attention_planner == VarlenPlan.from_batch
