"""Multiple choice compared with the reference."""

import pytest
import torch
import transformers

from tests.parity.reference_model import LOGITS, pack, packed_results, padded, reference, save, sequences
from xlm_core import XLMForMultipleChoice, XLMModel
from xlm_core.checkpoint.config import XLMConfig
from xlm_core.errors import FatalError
from xlm_core.heads import MultipleChoiceHead

pytestmark = pytest.mark.usefixtures("no_gradients")

CHOICES = [[5, 9, 1], [24, 7, 12]]  # lengths of the choices of two questions


def questions():
    """Draw the choices of both questions."""
    return sequences([length for lengths in CHOICES for length in lengths])


def group_choices(padded_tensors):
    return [tensor.unflatten(0, (2, 3)) for tensor in padded_tensors]


@pytest.mark.parametrize("file_format", ["safetensors", "bin"])
@pytest.mark.parametrize("activation", [None, "tanh"])
@pytest.mark.parametrize("kind", ["first", "last", "mean", "cls_index"])
def test_logits(tmp_path, parity, kind, activation, file_format):
    theirs = reference(
        transformers.XLMForMultipleChoice, num_labels=4, summary_type=kind, summary_activation=activation
    )
    ours = XLMForMultipleChoice.from_pretrained(save(theirs, tmp_path, file_format))
    samples = questions()
    expected = torch.cat([theirs(ids[None], langs=langs[None]).logits[0] for ids, langs in samples])
    ids, langs, mask = group_choices(padded(samples))
    batch = pack(samples)
    trunk, head = XLMModel.from_pretrained(tmp_path), MultipleChoiceHead.from_pretrained(tmp_path)
    output = ours(ids, mask, langs=langs, output_hidden_states=True, output_attentions=True)
    assert output.logits.shape == (2, 3)
    assert output.hidden_states[0].shape == (6, 24, 32)
    assert output.attentions[0].shape == (6, 4, 24, 24)
    for got in (
        *packed_results(ours, samples),
        output.logits.flatten(),
        ours(ids, langs=langs, lengths=torch.tensor(CHOICES)).logits.flatten(),
        head.forward_packed(trunk.forward_packed(batch), batch.cu_seqlens),
    ):
        parity("multiple choice", f"{kind}, activation {activation}", got, expected, LOGITS)


def test_padded_batch_and_loss(tmp_path, parity):
    theirs = reference(transformers.XLMForMultipleChoice)  # the "first" summary ignores pads
    ours = XLMForMultipleChoice.from_pretrained(save(theirs, tmp_path, "safetensors"))
    ids, langs, mask = group_choices(padded(questions()))
    arguments = {"langs": langs, "attention_mask": mask, "labels": torch.tensor([2, 0])}
    got, expected = ours(ids, **arguments), theirs(ids, **arguments)
    parity("multiple choice", "padded", got.logits, expected.logits, LOGITS)
    parity("multiple choice, loss", "padded", got.loss, expected.loss, LOGITS)
    vectors = torch.randn(2, 3, 24, 32)
    types = torch.randint(0, 3, ids.shape)
    for arguments in (
        {"inputs_embeds": vectors, "langs": langs},
        {"input_ids": ids, "token_type_ids": types, "position_ids": types + 4},
    ):
        parity("multiple choice", "other arguments", ours(**arguments).logits, theirs(**arguments).logits, LOGITS)


def test_invalid_configuration_and_shapes_raise_an_error(tmp_path):
    config = XLMConfig(emb_dim=8, n_heads=2, n_layers=1, vocab_size=30, summary_use_proj=False)
    with pytest.raises(FatalError, match=r"got 2 labels, expected the width of the summary \(8\)"):
        MultipleChoiceHead(config)
    ours = XLMForMultipleChoice(XLMConfig(emb_dim=8, n_heads=2, n_layers=1, vocab_size=30))
    with pytest.raises(ValueError, match=r"got shape \[2, 5\], expected \[batch, choices, length, …\]"):
        ours(torch.ones(2, 5, dtype=torch.int64))
    ids = torch.full((2, 3, 5), 4)
    for name, value in {
        "attention_mask": ids[:1],
        "lengths": torch.tensor([5] * 6),
        "position_ids": ids[0, :1],
    }.items():
        with pytest.raises(ValueError, match=rf"{name}: got shape \[.*, expected it to begin with \[2, 3\]"):
            ours(ids, **{name: value})
