"""Sequence and token classification against the reference."""

import pytest
import torch
import transformers

from tests.parity.reference_model import HIDDEN, LOGITS, pack, packed_ways, padded, reference, save, sequences
from xlm_core import XLMForSequenceClassification, XLMForTokenClassification, XLMModel
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


@pytest.mark.parametrize("form", ["safetensors", "bin"])
@pytest.mark.parametrize("summary", SUMMARIES, ids=lambda s: "-".join(map(str, s.values())))
def test_sequences(tmp_path, parity, summary, form):
    theirs = reference(transformers.XLMForSequenceClassification, num_labels=5, **summary)
    ours = XLMForSequenceClassification.from_pretrained(save(theirs, tmp_path, form))
    drawn = sequences()
    expected = torch.cat([theirs(ids, langs=langs).logits for ids, langs in drawn])
    ids, langs, mask = padded(drawn)
    trunk, head = XLMModel.from_pretrained(tmp_path), SequenceClassificationHead.from_pretrained(tmp_path)
    batch = pack(drawn)
    for got in (
        *packed_ways(ours, drawn),
        ours(ids, mask, langs=langs).logits,
        head.forward_packed(trunk.forward_packed(batch), batch.cu_seqlens),
    ):
        case = ", ".join(f"{key.removeprefix('summary_')} {value}" for key, value in summary.items())
        parity("sequence classification", case, got, expected, LOGITS)


@pytest.mark.parametrize("form", ["safetensors", "bin", "old bin"])
@pytest.mark.parametrize("causal", [False, True])
def test_tokens(tmp_path, parity, form, causal):
    theirs = reference(transformers.XLMForTokenClassification, num_labels=5, causal=causal)
    ours = XLMForTokenClassification.from_pretrained(save(theirs, tmp_path, form))
    drawn = sequences()
    expected = torch.cat([theirs(ids, langs=langs).logits[0] for ids, langs in drawn])
    trunk, head = XLMModel.from_pretrained(tmp_path), TokenClassificationHead.from_pretrained(tmp_path)
    shared = head.forward_packed(trunk.forward_packed(pack(drawn)), pack(drawn).cu_seqlens)
    case = "causal" if causal else "masked"
    for got in (*packed_ways(ours, drawn), shared):
        parity("token classification", f"{case}, packed", got, expected, LOGITS)

    ids, langs, mask = padded(drawn)
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
def test_losses(tmp_path, parity, num_labels, problem_type, labels):
    theirs = reference(transformers.XLMForSequenceClassification, num_labels=num_labels, problem_type=problem_type)
    ours = XLMForSequenceClassification.from_pretrained(save(theirs, tmp_path, "safetensors"))
    ids, langs, mask = padded(sequences([6, 4, 9]))
    output = ours(ids, mask, langs=langs, labels=labels)
    if labels.dtype == torch.int32:  # which the reference takes for class ids, and then cannot use
        labels = labels.long()
    expected = theirs(ids, langs=langs, attention_mask=mask, labels=labels)
    parity("sequence classification, loss", problem_type or "by its labels", output.loss, expected.loss, LOGITS)


def test_loss_needs_one_logit_per_label(tmp_path):
    theirs = reference(transformers.XLMForSequenceClassification, num_labels=5, summary_use_proj=False)
    ours = XLMForSequenceClassification.from_pretrained(save(theirs, tmp_path, "safetensors"))
    ids, langs, mask = padded(sequences([6, 4]))
    with pytest.raises(ValueError, match=r"labels: got 32 logits, expected 5 \(the number of labels\).*; set summ"):
        ours(ids, mask, langs=langs, labels=torch.tensor([0, 1]))
