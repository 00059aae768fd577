"""The simple head for question answering, compared with the reference."""

import pytest
import torch
import transformers

from tests.parity.reference_model import LOGITS, pack, packed_results, padded, reference, save, sequences
from xlm_core import XLMForQuestionAnsweringSimple, XLMModel
from xlm_core.checkpoint.config import XLMConfig
from xlm_core.errors import FatalError
from xlm_core.heads import QuestionAnsweringSimpleHead

pytestmark = pytest.mark.usefixtures("no_gradients")


@pytest.mark.parametrize("file_format", ["safetensors", "bin", "old bin"])
@pytest.mark.parametrize("causal", [False, True])
def test_logits_and_loss(tmp_path, parity, file_format, causal):
    theirs = reference(transformers.XLMForQuestionAnsweringSimple, causal=causal)
    ours = XLMForQuestionAnsweringSimple.from_pretrained(save(theirs, tmp_path, file_format))
    samples = sequences()
    alone = [theirs(ids, langs=langs) for ids, langs in samples]
    expected = torch.cat([torch.stack([one.start_logits[0], one.end_logits[0]], dim=1) for one in alone])
    batch = pack(samples)
    trunk, head = XLMModel.from_pretrained(tmp_path), QuestionAnsweringSimpleHead.from_pretrained(tmp_path)
    separate = head.forward_packed(trunk.forward_packed(batch), batch.cu_seqlens)
    case = "causal" if causal else "masked"
    for got in (*packed_results(ours, samples), separate):
        parity("question answering, simple", f"{case}, packed", got, expected, LOGITS)

    ids, langs, mask = padded(samples)
    # some positions are outside the sequence
    starts, ends = torch.tensor([0, 0, 23, 5, 3, 30, -4, 0]), torch.tensor([4, 0, 23, 99, 3, 4, 2, 24])
    for start_positions, end_positions in ((starts, ends), (starts[:, None], ends[:, None])):
        arguments = {
            "langs": langs,
            "attention_mask": mask,
            "start_positions": start_positions,
            "end_positions": end_positions,
        }
        got, expected = ours(ids, **arguments), theirs(ids, **arguments)
        for name in ("start_logits", "end_logits"):
            parity("question answering, simple", f"{case}, padded, pads included", got[name], expected[name], LOGITS)
        parity("question answering, simple, loss", case, got.loss, expected.loss, LOGITS)
    assert ours(ids, mask, langs=langs, start_positions=starts).loss is None


def test_number_of_labels_other_than_two_raises_an_error():
    with pytest.raises(FatalError, match="id2label: got 3 labels, expected 2 to answer questions"):
        QuestionAnsweringSimpleHead(XLMConfig.from_dict({"num_labels": 3}))
