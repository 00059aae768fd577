"""Trunk and classifiers against the reference: random weights, through real files, every layer."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

sys.path.insert(0, str(Path(__file__).parent))
from reference_model import LENGTHS, MAX_POSITIONS, padded, reference, save, sequences

from xlm_core.attention import GroupedPlan, VarlenPlan
from xlm_core.config import XLMConfig
from xlm_core.heads import (
    SequenceClassificationHead,
    TokenClassificationHead,
    XLMForSequenceClassification,
    XLMForTokenClassification,
)
from xlm_core.model import XLMModel
from xlm_core.packing import PackedBatch

HIDDEN, LOGITS = 2e-5, 1e-4  # largest absolute differences allowed

VARIANTS = {
    "languages": {},
    "no language vectors": {"use_lang_emb": False},
    "one language": {"n_langs": 1},
    "sinusoidal": {"sinusoidal_embeddings": True},
    "relu": {"gelu_activation": False},
    "causal": {"causal": True},
    "three layers, other norm": {"n_layers": 3, "layer_norm_eps": 1e-3, "emb_dim": 48, "n_heads": 3},
}


def near(ours, theirs, tolerance):
    torch.testing.assert_close(ours, theirs, atol=tolerance, rtol=0)


def pack(drawn):
    ids = torch.cat([ids[0] for ids, _ in drawn])
    positions = torch.cat([torch.arange(ids.shape[1]) for ids, _ in drawn])
    cu_seqlens = torch.tensor([0] + [ids.shape[1] for ids, _ in drawn]).cumsum(0).int()
    return PackedBatch(ids, positions, cu_seqlens, torch.cat([langs[0] for _, langs in drawn]))


@pytest.fixture(autouse=True)
def _no_gradients():
    with torch.inference_mode():
        yield


@pytest.mark.parametrize("form", ["safetensors", "bin", "old bin"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_layer_of_the_trunk(tmp_path, variant, form):
    theirs = reference(transformers.XLMModel, **VARIANTS[variant])
    ours = XLMModel.from_pretrained(save(theirs, tmp_path, form))
    drawn = sequences()
    alone = [theirs(ids, langs=langs, output_hidden_states=True).hidden_states for ids, langs in drawn]

    for (ids, langs), expected in zip(drawn, alone, strict=True):
        last, states = ours.forward_packed(pack([(ids, langs)]), output_hidden_states=True)
        near(last[None], expected[-1], HIDDEN)
        assert len(states) == len(expected)
        for ours_TD, theirs_1LD in zip(states, expected, strict=True):
            near(ours_TD[None], theirs_1LD, HIDDEN)

    last, states = ours.forward_packed(pack(drawn), output_hidden_states=True)
    for layer, state_TD in enumerate(states):
        near(state_TD, torch.cat([expected[layer][0] for expected in alone]), HIDDEN)
    assert torch.equal(ours.forward_packed(pack(drawn)), last)

    ids, langs, mask = padded(drawn)
    lengths = torch.tensor(LENGTHS)
    for arguments in ({"attention_mask": mask}, {"lengths": lengths}, {}):
        output = ours(ids, langs=langs, output_hidden_states=True, **arguments)
        expected = theirs(ids, langs=langs, output_hidden_states=True, **arguments).hidden_states
        near(output.last_hidden_state, expected[-1], HIDDEN)
        for ours_BLD, theirs_BLD in zip(output.hidden_states, expected, strict=True):
            near(ours_BLD, theirs_BLD, HIDDEN)


def test_a_mask_of_any_pattern(tmp_path):
    theirs = reference(transformers.XLMModel)
    ours = XLMModel.from_pretrained(save(theirs, tmp_path, "safetensors"))
    ids, langs, _ = padded(sequences([MAX_POSITIONS] * 4))
    mask = torch.ones_like(ids)
    mask[0, :9] = 0  # left padding
    mask[1, 4:11] = 0  # a hole
    mask[2, ::2] = 0
    expected = theirs(ids, langs=langs, attention_mask=mask).last_hidden_state
    near(ours(ids, langs=langs, attention_mask=mask).last_hidden_state, expected, HIDDEN)


def test_the_other_arguments_of_the_reference(tmp_path):
    theirs = reference(transformers.XLMModel)
    ours = XLMModel.from_pretrained(save(theirs, tmp_path, "safetensors"))
    drawn = sequences()
    ids, langs, mask = padded(drawn)
    positions = torch.randint(0, MAX_POSITIONS, ids.shape)
    types = torch.randint(0, 3, ids.shape)
    vectors = torch.randn(*ids.shape, 32)
    for arguments in (
        {"input_ids": ids, "langs": langs, "position_ids": positions},
        {"input_ids": ids, "langs": langs, "token_type_ids": types, "attention_mask": mask},
        {"input_ids": ids, "inputs_embeds": vectors},
        {"inputs_embeds": vectors, "langs": langs},
        {"inputs_embeds": vectors, "lengths": torch.tensor(LENGTHS)},
    ):
        near(ours(**arguments).last_hidden_state, theirs(**arguments).last_hidden_state, HIDDEN)


def test_no_language_is_the_reference_without_langs(tmp_path):
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
    near(ours.forward_packed(batch), torch.cat(expected), HIDDEN)


SUMMARIES = [
    {"summary_type": kind, "summary_use_proj": projected, "summary_activation": activation}
    for kind in ("first", "last", "mean", "cls_index")
    for projected in (True, False)
    for activation in (None, "tanh")
] + [
    {"summary_type": "mean", "summary_proj_to_labels": False, "summary_activation": "gelu"},
    {"summary_type": "last", "summary_activation": "relu", "causal": True},
]


@pytest.mark.parametrize("summary", SUMMARIES, ids=lambda s: "-".join(map(str, s.values())))
def test_sequence_classification(tmp_path, summary):
    theirs = reference(transformers.XLMForSequenceClassification, num_labels=5, **summary)
    ours = XLMForSequenceClassification.from_pretrained(save(theirs, tmp_path, "safetensors"))
    drawn = sequences()
    expected = torch.cat([theirs(ids, langs=langs).logits for ids, langs in drawn])
    near(torch.cat([ours.forward_packed(pack([one])) for one in drawn]), expected, LOGITS)
    near(ours.forward_packed(pack(drawn)), expected, LOGITS)
    near(ours.forward_packed(pack(drawn), invariant=True), expected, LOGITS)
    ids, langs, mask = padded(drawn)
    near(ours(ids, langs=langs, attention_mask=mask).logits, expected, LOGITS)

    trunk, head = XLMModel.from_pretrained(tmp_path), SequenceClassificationHead.from_pretrained(tmp_path)
    batch = pack(drawn)
    near(head.forward_packed(trunk.forward_packed(batch), batch.cu_seqlens), expected, LOGITS)


@pytest.mark.parametrize("form", ["safetensors", "bin"])
@pytest.mark.parametrize("causal", [False, True])
def test_token_classification(tmp_path, form, causal):
    theirs = reference(transformers.XLMForTokenClassification, num_labels=5, causal=causal)
    ours = XLMForTokenClassification.from_pretrained(save(theirs, tmp_path, form))
    drawn = sequences()
    expected = torch.cat([theirs(ids, langs=langs).logits[0] for ids, langs in drawn])
    near(torch.cat([ours.forward_packed(pack([one])) for one in drawn]), expected, LOGITS)
    near(ours.forward_packed(pack(drawn)), expected, LOGITS)
    trunk, head = XLMModel.from_pretrained(tmp_path), TokenClassificationHead.from_pretrained(tmp_path)
    near(head.forward_packed(trunk.forward_packed(pack(drawn)), pack(drawn).cu_seqlens), expected, LOGITS)

    ids, langs, mask = padded(drawn)
    labels = torch.randint(0, 5, ids.shape)
    for targets in (labels, labels.masked_fill(mask == 0, -100)):
        arguments = {"langs": langs, "attention_mask": mask, "labels": targets, "output_hidden_states": True}
        output, expected_output = ours(ids, **arguments), theirs(ids, **arguments)
        near(output.logits, expected_output.logits, LOGITS)  # pads included
        near(output.loss, expected_output.loss, LOGITS)
        near(output.hidden_states[1], expected_output.hidden_states[1], HIDDEN)


@pytest.mark.parametrize(
    ("num_labels", "problem_type", "labels"),
    [
        (5, None, torch.tensor([0, 4, 2])),
        (5, "single_label_classification", torch.tensor([[0], [4], [2]])),
        (5, None, torch.rand(3, 5)),
        (5, "multi_label_classification", torch.rand(3, 5).round()),
        (5, "regression", torch.randn(3, 5)),
        (1, None, torch.randn(3)),
        (1, None, torch.randn(3, 1)),
        (1, "regression", torch.randn(3, 1)),
    ],
)
def test_losses(tmp_path, num_labels, problem_type, labels):
    theirs = reference(transformers.XLMForSequenceClassification, num_labels=num_labels, problem_type=problem_type)
    ours = XLMForSequenceClassification.from_pretrained(save(theirs, tmp_path, "safetensors"))
    ids, langs, mask = padded(sequences([6, 4, 9]))
    arguments = {"langs": langs, "attention_mask": mask, "labels": labels}
    output, expected = ours(ids, **arguments), theirs(ids, **arguments)
    assert output.loss.shape == expected.loss.shape
    near(output.loss, expected.loss, LOGITS)


@pytest.mark.parametrize(
    ("ours_class", "name"),
    [
        (XLMModel, "XLMModel"),
        (XLMForSequenceClassification, "XLMForSequenceClassification"),
        (XLMForTokenClassification, "XLMForTokenClassification"),
    ],
)
def test_what_we_save_the_reference_loads(tmp_path, ours_class, name):
    theirs = reference(getattr(transformers, name), num_labels=3, causal=True, lang2id={"en": 0, "de": 2})
    (tmp_path / "theirs").mkdir()
    ours = ours_class.from_pretrained(save(theirs, tmp_path / "theirs", "safetensors"))
    ours.save_pretrained(tmp_path / "ours")
    again, report = getattr(transformers, name).from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not any(report[fault] for fault in ("missing_keys", "unexpected_keys", "mismatched_keys")), report
    assert again.state_dict().keys() == theirs.state_dict().keys()
    assert all(torch.equal(again.state_dict()[key], tensor) for key, tensor in theirs.state_dict().items())
    for field in ("causal", "id2label", "lang2id", "n_langs", "pad_token_id", "n_words", "summary_type"):
        assert getattr(again.config, field) == getattr(theirs.config, field)
    (ids, langs), *_ = sequences([9])
    assert torch.equal(again(ids, langs=langs)[0], theirs(ids, langs=langs)[0])


def test_training_dropout_is_placed_as_in_the_reference(tmp_path):
    """With the same seed the masks differ in order of drawing, so compare the mean over many passes."""
    theirs = reference(transformers.XLMModel, dropout=0.3, attention_dropout=0.4).train()
    ours = XLMModel.from_pretrained(save(theirs, tmp_path, "safetensors")).train()
    (ids, langs), *_ = sequences([8])
    many = (ids.expand(3000, -1), langs.expand(3000, -1))
    torch.manual_seed(0)
    expected = theirs(many[0], langs=many[1]).last_hidden_state
    got = ours(many[0], langs=many[1]).last_hidden_state
    assert (got.mean(0) - expected.mean(0)).abs().max() < 0.1
    assert (got.std(0) - expected.std(0)).abs().max() < 0.1
    evaluated = ours.eval()(*many[:1], langs=many[1]).last_hidden_state
    assert (evaluated[0] - got.mean(0)).abs().max() > 0.1  # so dropout did something


def test_our_defaults_and_names_are_the_reference_s():
    theirs = transformers.XLMConfig().to_dict()
    ours = XLMConfig().to_dict()
    shared = ours.keys() & theirs.keys() - {"id2label", "label2id"}
    assert len(shared) > 28
    assert {name: ours[name] for name in shared} == {name: theirs[name] for name in shared}
    assert ours.keys() - theirs.keys() <= {"id2label", "label2id", "summary_last_dropout"}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("causal", [False, True])
def test_on_a_gpu(tmp_path, causal):
    theirs = reference(transformers.XLMModel, causal=causal)
    save(theirs, tmp_path, "safetensors")
    drawn = sequences()
    expected = torch.cat([theirs(ids, langs=langs).last_hidden_state[0] for ids, langs in drawn])
    model = XLMModel.from_pretrained(tmp_path, device="cuda")
    near(model.forward_packed(pack(drawn).to("cuda")).cpu(), expected, LOGITS)
    exact_kernel, half = model.plan_attention, model.to(torch.bfloat16)
    assert (exact_kernel, half.plan_attention) == (GroupedPlan.of, VarlenPlan.of)
    got = half.forward_packed(pack(drawn).to("cuda")).float().cpu()
    assert torch.nn.functional.cosine_similarity(got, expected).min() > 0.99
    assert half.train().plan_attention == GroupedPlan.of  # the flash kernel has no dropout
    assert half.eval().plan_attention == VarlenPlan.of
