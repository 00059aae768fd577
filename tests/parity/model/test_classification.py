"""Sequence and token classification compared with the reference."""

import pytest
import torch
import transformers

from tests.parity.reference_model import HIDDEN, LOGITS, pack, packed_results, padded, reference, save, sequences
from xlm_core import FatalError, XLMConfig, XLMForSequenceClassification, XLMForTokenClassification, XLMModel
from xlm_core.checkpoint import set_score_temperature
from xlm_core.heads import SequenceClassificationHead, TokenClassificationHead

pytestmark = pytest.mark.usefixtures("no_gradients")

SUMMARIES = [
    {"summary_type": kind, "summary_use_proj": projected, "summary_activation": activation}
    for kind in ("first", "last", "mean", "cls_index")
    for projected in (True, False)
    for activation in (None, "tanh")
] + [
    {"summary_type": "mean", "summary_proj_to_labels": False, "summary_activation": "gelu"},
    {"summary_type": "last", "summary_activation": "relu", "causal": True},
    *({"summary_type": "first", "summary_activation": name} for name in ("sigmoid", "silu", "swish", "linear", "")),
]


@pytest.mark.parametrize("file_format", ["safetensors", "bin"])
@pytest.mark.parametrize("summary", SUMMARIES, ids=lambda s: "-".join(map(str, s.values())))
def test_sequence_classification_logits(tmp_path, parity, summary, file_format):
    theirs = reference(transformers.XLMForSequenceClassification, num_labels=5, **summary)
    ours = XLMForSequenceClassification.from_pretrained(save(theirs, tmp_path, file_format))
    samples = sequences()
    expected = torch.cat([theirs(ids, langs=langs).logits for ids, langs in samples])
    ids, langs, mask = padded(samples)
    trunk, head = XLMModel.from_pretrained(tmp_path), SequenceClassificationHead.from_pretrained(tmp_path)
    batch = pack(samples)
    for got in (
        *packed_results(ours, samples),
        ours(ids, mask, langs=langs).logits,
        head.forward_packed(trunk.forward_packed(batch), batch.cu_seqlens),
    ):
        case = ", ".join(f"{key.removeprefix('summary_')} {value}" for key, value in summary.items())
        parity("sequence classification", case, got, expected, LOGITS)


@pytest.mark.parametrize("file_format", ["safetensors", "bin", "old bin"])
@pytest.mark.parametrize("causal", [False, True])
def test_token_classification_logits_loss_and_hidden_states(tmp_path, parity, file_format, causal):
    theirs = reference(transformers.XLMForTokenClassification, num_labels=5, causal=causal)
    ours = XLMForTokenClassification.from_pretrained(save(theirs, tmp_path, file_format))
    samples = sequences()
    expected = torch.cat([theirs(ids, langs=langs).logits[0] for ids, langs in samples])
    trunk, head = XLMModel.from_pretrained(tmp_path), TokenClassificationHead.from_pretrained(tmp_path)
    separate = head.forward_packed(trunk.forward_packed(pack(samples)), pack(samples).cu_seqlens)
    case = "causal" if causal else "masked"
    for got in (*packed_results(ours, samples), separate):
        parity("token classification", f"{case}, packed", got, expected, LOGITS)

    ids, langs, mask = padded(samples)
    labels = torch.randint(0, 5, ids.shape)
    for targets in (labels, labels.masked_fill(mask == 0, -100)):
        arguments = {"langs": langs, "attention_mask": mask, "labels": targets, "output_hidden_states": True}
        output, expected_output = ours(ids, **arguments), theirs(ids, **arguments)
        parity("token classification", f"{case}, padded, pads included", output.logits, expected_output.logits, LOGITS)
        parity("token classification, loss", case, output.loss, expected_output.loss, LOGITS)
        parity("token classification, every layer", case, output.hidden_states, expected_output.hidden_states, HIDDEN)


@pytest.mark.parametrize(
    ("num_labels", "problem_type", "labels"),
    [
        (5, None, torch.tensor([0, 4, 2])),
        (5, None, torch.tensor([0, 4, 2], dtype=torch.int32)),
        (5, "single_label_classification", torch.tensor([[0], [4], [2]])),
        (5, None, torch.rand(3, 5)),
        (5, "multi_label_classification", torch.rand(3, 5).round()),
        (5, "regression", torch.randn(3, 5)),
        (1, None, torch.randn(3)),
        (1, None, torch.randn(3, 1)),
        (1, "regression", torch.randn(3, 1)),
    ],
)
def test_sequence_classification_losses(tmp_path, parity, num_labels, problem_type, labels):
    theirs = reference(transformers.XLMForSequenceClassification, num_labels=num_labels, problem_type=problem_type)
    ours = XLMForSequenceClassification.from_pretrained(save(theirs, tmp_path, "safetensors"))
    ids, langs, mask = padded(sequences([6, 4, 9]))
    output = ours(ids, mask, langs=langs, labels=labels)
    if labels.dtype == torch.int32:  # the reference treats int32 labels as class ids, but its loss needs int64
        labels = labels.long()
    expected = theirs(ids, langs=langs, attention_mask=mask, labels=labels)
    case = problem_type or "problem type from the labels"
    parity("sequence classification, loss", case, output.loss, expected.loss, LOGITS)


def test_loss_needs_one_logit_per_label(tmp_path):
    theirs = reference(transformers.XLMForSequenceClassification, num_labels=5, summary_use_proj=False)
    ours = XLMForSequenceClassification.from_pretrained(save(theirs, tmp_path, "safetensors"))
    ids, langs, mask = padded(sequences([6, 4]))
    with pytest.raises(ValueError, match=r"logits: got width 32, expected 5 \(the number of labels\).*; set summ"):
        ours(ids, mask, langs=langs, labels=torch.tensor([0, 1]))


def test_the_reference_ignores_the_temperature_and_writes_it_back(tmp_path):
    theirs = reference(transformers.XLMForSequenceClassification, num_labels=5)
    save(theirs, tmp_path, "safetensors")
    set_score_temperature(tmp_path, 2.5)
    calibrated = transformers.XLMForSequenceClassification.from_pretrained(tmp_path)
    ours = XLMForSequenceClassification.from_pretrained(tmp_path)
    for ids, langs in sequences():
        expected = theirs(ids, langs=langs).logits
        for model in (calibrated, ours):
            assert torch.allclose(model(ids, langs=langs).logits, expected, atol=1e-4)
    calibrated.save_pretrained(tmp_path / "again")
    assert XLMForSequenceClassification.from_pretrained(tmp_path / "again").config.score_temperature == 2.5


def test_head_of_a_lower_layer_is_refused_by_the_classes_of_the_reference():
    with pytest.raises(FatalError, match=r"summary_layer: got 0, expected -1 \(the last layer\) .*; use XLM, or a job"):
        XLMForSequenceClassification(XLMConfig(emb_dim=8, n_heads=2, n_layers=2, summary_layer=0))
