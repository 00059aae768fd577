"""Padded batches for which the reference is wrong, while ours equal each sequence run alone.

Each test checks both: the reference's batch differs by more than 0.1, ours by no more than the usual limit.
"""

import pytest
import torch
import transformers

from tests.parity.reference_model import HIDDEN, LOGITS, padded, reference, save, sequences
from xlm_core import XLMForMultipleChoice, XLMForQuestionAnswering, XLMForSequenceClassification, XLMModel

pytestmark = pytest.mark.usefixtures("no_gradients")

MIN_ERROR = 0.1


def is_wrong(batch, alone):
    return (batch - alone).abs().max().item() > MIN_ERROR


@pytest.mark.parametrize("kind", ["last", "mean", "cls_index"])
def test_sequence_summaries_ignore_pads(tmp_path, parity, kind):
    theirs = reference(transformers.XLMForSequenceClassification, summary_type=kind)
    ours = XLMForSequenceClassification.from_pretrained(save(theirs, tmp_path, "safetensors"))
    samples = sequences()
    ids, langs, mask = padded(samples)
    alone = torch.cat([theirs(ids, langs=langs).logits for ids, langs in samples])
    assert is_wrong(theirs(ids, attention_mask=mask, langs=langs).logits, alone)
    got = ours(ids, mask, langs=langs).logits
    parity("padded batch, compared with each sequence alone", f"sequence classification, {kind}", got, alone, LOGITS)


@pytest.mark.parametrize("kind", ["last", "mean", "cls_index"])
def test_choice_summaries_ignore_pads(tmp_path, parity, kind):
    theirs = reference(transformers.XLMForMultipleChoice, summary_type=kind)
    ours = XLMForMultipleChoice.from_pretrained(save(theirs, tmp_path, "safetensors"))
    samples = sequences()
    ids, langs, mask = (tensor.unflatten(0, (4, 2)) for tensor in padded(samples))
    alone = torch.cat([theirs(ids[None], langs=langs[None]).logits[0] for ids, langs in samples]).view(4, 2)
    assert is_wrong(theirs(ids, attention_mask=mask, langs=langs).logits, alone)
    got = ours(ids, mask, langs=langs).logits
    parity("padded batch, compared with each sequence alone", f"multiple choice, {kind}", got, alone, LOGITS)


def test_start_probabilities_exclude_pads(tmp_path, parity):
    theirs = reference(transformers.XLMForQuestionAnswering)
    with torch.no_grad():
        theirs.qa_outputs.start_logits.dense.bias.fill_(2.0)  # changes the probability of pads only
    ours = XLMForQuestionAnswering.from_pretrained(save(theirs, tmp_path, "safetensors"))
    samples = sequences([5, 24, 7, 12])
    ids, langs, mask = padded(samples)
    class_tokens = torch.zeros(4, dtype=torch.int64)  # not a pad; the next test covers pads
    alone = [theirs(ids, langs=langs, cls_index=class_tokens[:1]) for ids, langs in samples]
    batch = theirs(ids, attention_mask=mask, langs=langs, cls_index=class_tokens)
    output = ours(ids, mask, langs=langs, cls_index=class_tokens)
    for name in ("start_top_log_probs", "cls_logits"):
        expected = torch.cat([one[name] for one in alone])
        assert is_wrong(batch[name], expected)
        parity("padded batch, compared with each sequence alone", f"beams, {name}", output[name], expected, LOGITS)
    assert not torch.equal(batch.start_top_index, torch.cat([one.start_top_index for one in alone]))
    parity.exact(
        "padded batch, compared with each sequence alone", "beams, start_top_index",
        output.start_top_index, torch.cat([one.start_top_index for one in alone]),
    )  # fmt: skip


def test_default_class_token_is_the_last_token_and_not_a_pad(tmp_path, parity):
    theirs = reference(transformers.XLMForQuestionAnswering)
    ours = XLMForQuestionAnswering.from_pretrained(save(theirs, tmp_path, "safetensors"))
    samples = sequences([5, 24, 7, 12])
    ids, langs, mask = padded(samples)
    p_mask = 1.0 - mask  # the starts are correct, only the class token is wrong
    alone = torch.cat([theirs(ids, langs=langs).cls_logits for ids, langs in samples])
    assert is_wrong(theirs(ids, attention_mask=mask, langs=langs, p_mask=p_mask).cls_logits, alone)
    got = ours(ids, mask, langs=langs, p_mask=p_mask).cls_logits
    parity("padded batch, compared with each sequence alone", "beams, class token", got, alone, LOGITS)


def test_causal_tokens_do_not_attend_to_pads_on_the_left(tmp_path, parity):
    theirs = reference(transformers.XLMModel, causal=True)
    ours = XLMModel.from_pretrained(save(theirs, tmp_path, "safetensors"))
    (ids, langs), *_ = sequences([9])
    pads = torch.full((1, 4), 2)
    arguments = {
        "langs": torch.cat([torch.zeros_like(pads), langs], dim=1),
        "attention_mask": torch.cat([torch.zeros_like(pads), torch.ones_like(ids)], dim=1),
        "position_ids": torch.cat([torch.zeros_like(pads), torch.arange(9)[None]], dim=1),
    }
    both = torch.cat([pads, ids], dim=1)
    alone = theirs(ids, langs=langs).last_hidden_state
    assert is_wrong(theirs(both, **arguments).last_hidden_state[:, 4:], alone)
    got = ours(both, **arguments).last_hidden_state[:, 4:]
    parity("padded batch, compared with each sequence alone", "causal, left padding", got, alone, HIDDEN)
