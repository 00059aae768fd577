"""Where the reference's own batches are wrong, and ours are what each sequence gives alone.

Every test shows both: the reference's batch is off by more than 0.1, ours within the usual limit.
"""

import pytest
import torch
import transformers

from tests.parity.reference_model import HIDDEN, LOGITS, padded, reference, save, sequences
from xlm_core import XLMForMultipleChoice, XLMForQuestionAnswering, XLMForSequenceClassification, XLMModel

pytestmark = pytest.mark.usefixtures("no_gradients")

OFF = 0.1


def off(batch, alone):
    return (batch - alone).abs().max().item() > OFF


@pytest.mark.parametrize("kind", ["last", "mean", "cls_index"])
def test_summaries_of_sequences_see_pads(tmp_path, parity, kind):
    theirs = reference(transformers.XLMForSequenceClassification, summary_type=kind)
    ours = XLMForSequenceClassification.from_pretrained(save(theirs, tmp_path, "safetensors"))
    drawn = sequences()
    ids, langs, mask = padded(drawn)
    alone = torch.cat([theirs(ids, langs=langs).logits for ids, langs in drawn])
    assert off(theirs(ids, attention_mask=mask, langs=langs).logits, alone)
    got = ours(ids, mask, langs=langs).logits
    parity("batches as each sequence alone", f"sequence classification, {kind}", got, alone, LOGITS)


@pytest.mark.parametrize("kind", ["last", "mean", "cls_index"])
def test_summaries_of_choices_see_pads(tmp_path, parity, kind):
    theirs = reference(transformers.XLMForMultipleChoice, summary_type=kind)
    ours = XLMForMultipleChoice.from_pretrained(save(theirs, tmp_path, "safetensors"))
    drawn = sequences()
    ids, langs, mask = (tensor.unflatten(0, (4, 2)) for tensor in padded(drawn))
    alone = torch.cat([theirs(ids[None], langs=langs[None]).logits[0] for ids, langs in drawn]).view(4, 2)
    assert off(theirs(ids, attention_mask=mask, langs=langs).logits, alone)
    got = ours(ids, mask, langs=langs).logits
    parity("batches as each sequence alone", f"multiple choice, {kind}", got, alone, LOGITS)


def test_starts_share_their_probability_with_pads(tmp_path, parity):
    theirs = reference(transformers.XLMForQuestionAnswering)
    with torch.no_grad():
        theirs.qa_outputs.start_logits.dense.bias.fill_(2.0)  # a pad's logit; alone, it changes no probability
    ours = XLMForQuestionAnswering.from_pretrained(save(theirs, tmp_path, "safetensors"))
    drawn = sequences([5, 24, 7, 12])
    ids, langs, mask = padded(drawn)
    class_tokens = torch.zeros(4, dtype=torch.int64)  # not at a pad: that is the test below
    alone = [theirs(ids, langs=langs, cls_index=class_tokens[:1]) for ids, langs in drawn]
    batch = theirs(ids, attention_mask=mask, langs=langs, cls_index=class_tokens)
    output = ours(ids, mask, langs=langs, cls_index=class_tokens)
    for name in ("start_top_log_probs", "cls_logits"):
        expected = torch.cat([one[name] for one in alone])
        assert off(batch[name], expected)
        parity("batches as each sequence alone", f"beams, {name}", output[name], expected, LOGITS)
    assert not torch.equal(batch.start_top_index, torch.cat([one.start_top_index for one in alone]))
    parity.exact(
        "batches as each sequence alone", "beams, start_top_index",
        output.start_top_index, torch.cat([one.start_top_index for one in alone]),
    )  # fmt: skip


def test_the_last_token_as_class_token_is_a_pad(tmp_path, parity):
    theirs = reference(transformers.XLMForQuestionAnswering)
    ours = XLMForQuestionAnswering.from_pretrained(save(theirs, tmp_path, "safetensors"))
    drawn = sequences([5, 24, 7, 12])
    ids, langs, mask = padded(drawn)
    p_mask = 1.0 - mask  # so that starts are right, and the class token alone is wrong
    alone = torch.cat([theirs(ids, langs=langs).cls_logits for ids, langs in drawn])
    assert off(theirs(ids, attention_mask=mask, langs=langs, p_mask=p_mask).cls_logits, alone)
    got = ours(ids, mask, langs=langs, p_mask=p_mask).cls_logits
    parity("batches as each sequence alone", "beams, class token", got, alone, LOGITS)


def test_a_causal_token_sees_the_pads_to_its_left(tmp_path, parity):
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
    assert off(theirs(both, **arguments).last_hidden_state[:, 4:], alone)
    got = ours(both, **arguments).last_hidden_state[:, 4:]
    parity("batches as each sequence alone", "causal, left padding", got, alone, HIDDEN)
