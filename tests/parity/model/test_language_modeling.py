"""The language model head compared with the reference: tied, untied and adaptive softmax."""

import pytest
import torch
import transformers
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tests.parity.reference_model import HIDDEN, LOGITS, TINY, pack, packed_results, padded, reference, save, sequences
from xlm_core import XLMModel, XLMWithLMHeadModel
from xlm_core.heads import LanguageModelHead, language_modeling

KINDS = {
    "tied": {},
    "untied": {"tie_word_embeddings": False},
    "tied, causal": {"causal": True},
    "adaptive": {"asm": True, "asm_cutoffs": [10, 30], "asm_div_value": 2.0},
    "adaptive, untied": {"asm": True, "asm_cutoffs": [20], "asm_div_value": 4.0, "tie_word_embeddings": False},
}


def expected_logits(theirs, samples):
    """Run the reference on each sequence alone; its adaptive softmax takes no batch dimension."""
    if not theirs.config.asm:
        return torch.cat([theirs(ids, langs=langs).logits[0] for ids, langs in samples])
    hidden = [theirs.transformer(ids, langs=langs).last_hidden_state[0] for ids, langs in samples]
    return torch.cat([theirs.pred_layer.proj.log_prob(hidden_TD) for hidden_TD in hidden])


@pytest.mark.usefixtures("no_gradients")
@pytest.mark.parametrize("file_format", ["safetensors", "bin", "old bin"])
@pytest.mark.parametrize("kind", KINDS)
def test_logits_and_log_probabilities(tmp_path, parity, kind, file_format):
    theirs = reference(transformers.XLMWithLMHeadModel, **KINDS[kind])
    ours = XLMWithLMHeadModel.from_pretrained(save(theirs, tmp_path, file_format))
    trunk, head = XLMModel.from_pretrained(tmp_path), LanguageModelHead.from_pretrained(tmp_path)
    samples = sequences()
    expected = expected_logits(theirs, samples)
    batch = pack(samples)
    hidden_TD = trunk.forward_packed(batch)
    ids, langs, mask = padded(samples)
    output = ours(ids, mask, langs=langs, output_hidden_states=True)
    for got in (
        *packed_results(ours, samples),
        head.forward_packed(hidden_TD, batch.cu_seqlens),
        output.logits[mask.bool()],
    ):
        parity("language model, logits", f"{kind}, {file_format}", got, expected, LOGITS)
    log_probs = expected.log_softmax(-1)  # log-probabilities stay the same
    parity("language model, log-probabilities", kind, head.log_probs(hidden_TD), log_probs, LOGITS)
    got = head.token_log_probs(hidden_TD, batch.input_ids)
    parity("language model, log-probabilities", kind, got, log_probs.gather(1, batch.input_ids[:, None])[:, 0], LOGITS)
    if not theirs.config.asm:
        expected_output = theirs(ids, attention_mask=mask, langs=langs, output_hidden_states=True)
        case = f"{kind}, padded, pads included"
        parity("language model, logits", case, output.logits, expected_output.logits, LOGITS)
        parity("language model, every layer", kind, output.hidden_states, expected_output.hidden_states, HIDDEN)
        kept = [model(ids, attention_mask=mask, langs=langs, logits_to_keep=3).logits for model in (ours, theirs)]
        parity("language model, logits", f"{kind}, last columns", *kept, LOGITS)


@pytest.mark.usefixtures("no_gradients")
@pytest.mark.parametrize("kind", KINDS)
def test_loss(tmp_path, parity, kind):
    theirs = reference(transformers.XLMWithLMHeadModel, **KINDS[kind])
    ours = XLMWithLMHeadModel.from_pretrained(save(theirs, tmp_path, "safetensors"))
    ids, langs, mask = padded(sequences())
    labels = ids.roll(1, dims=1)
    for case, targets in {
        "every column": labels,
        "some columns": labels.masked_fill((mask == 0) | (ids % 3 == 0), -100),
    }.items():
        got = ours(ids, mask, langs=langs, labels=targets).loss
        if theirs.config.asm:
            hidden = theirs.transformer(ids, attention_mask=mask, langs=langs).last_hidden_state
            expected = theirs.pred_layer.proj(hidden[targets != -100], targets[targets != -100]).loss
        else:
            expected = theirs(ids, attention_mask=mask, langs=langs, labels=targets).loss
        parity("language model, loss", f"{kind}, labels: {case}", got, expected, LOGITS)
    few = ours(ids, mask, langs=langs, labels=labels, logits_to_keep=2)
    assert few.logits.shape[1] == 2
    assert torch.equal(few.loss, ours(ids, mask, langs=langs, labels=labels).loss)
    with pytest.raises(ValueError, match=r"labels: got shape \[8, 2\], expected \[8, 24\]"):
        ours(ids, mask, labels=labels[:, -2:], logits_to_keep=2)


@pytest.mark.parametrize("kind", ["tied", "adaptive"])
def test_batch_without_labels_gives_nan_loss_and_zero_gradients(tmp_path, kind):
    """As in the reference."""
    theirs = reference(transformers.XLMWithLMHeadModel, **KINDS[kind])
    ours = XLMWithLMHeadModel.from_pretrained(save(theirs, tmp_path, "safetensors"))
    ids, _, mask = padded(sequences([6, 4]))
    for model in (ours,) if theirs.config.asm else (ours, theirs):
        loss = model(ids, attention_mask=mask, labels=torch.full_like(ids, -100)).loss
        loss.backward()
        assert loss.isnan()
        assert all((p.grad == 0).all() for p in model.parameters() if p.grad is not None)
        assert any(p.grad is not None for p in model.parameters())


@pytest.mark.usefixtures("no_gradients")
@pytest.mark.parametrize("kind", ["tied", "adaptive"])
def test_results_do_not_depend_on_the_chunk_size(tmp_path, monkeypatch, kind):
    theirs = reference(transformers.XLMWithLMHeadModel, **KINDS[kind])
    head = LanguageModelHead.from_pretrained(save(theirs, tmp_path, "safetensors"))
    generator = torch.Generator().manual_seed(0)
    hidden_ND = torch.randn(31, 32, generator=generator)
    targets_N = torch.randint(0, 60, (31,), generator=generator)
    in_one_chunk = head.token_log_probs(hidden_ND, targets_N), *head.top_k(hidden_ND, 4)
    monkeypatch.setattr(language_modeling, "_MAX_SCORES", 7 * TINY["vocab_size"])
    chunked = head.token_log_probs(hidden_ND, targets_N), *head.top_k(hidden_ND, 4)
    for got, expected in zip(chunked, in_one_chunk, strict=True):
        torch.testing.assert_close(got, expected, atol=1e-6, rtol=0)
    probs, ids = in_one_chunk[1:]
    log_probs = head.log_probs(hidden_ND)
    torch.testing.assert_close(probs.log(), log_probs.gather(1, ids), atol=1e-6, rtol=0)
    assert torch.equal(probs[:, 0].argsort(), log_probs.amax(1).exp().argsort())
    assert torch.equal(probs, probs.sort(descending=True).values)
    assert (log_probs > probs[:, -1:].log() + 1e-6).sum() == 31 * 3  # exactly three words are better than the fourth
    assert head.token_log_probs(hidden_ND[:0], targets_N[:0]).shape == (0,)
    assert head.top_k(hidden_ND[:0], 4)[0].shape == (0, 4)
    with pytest.raises(ValueError, match="k: got 61, expected 1 to 60"):
        head.top_k(hidden_ND, 61)


class LargestTensor(TorchDispatchMode):
    """Records the size of the largest tensor that an operation returns."""

    def __init__(self):
        super().__init__()
        self.numel = 0

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        result = operation(*args, **(kwargs or {}))
        tensors = [leaf for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor)]
        self.numel = max([self.numel, *(tensor.numel() for tensor in tensors)])
        return result


@pytest.mark.usefixtures("no_gradients")
@pytest.mark.parametrize("kind", ["tied", "adaptive"])
def test_logits_of_all_rows_are_never_in_memory_at_once(tmp_path, monkeypatch, kind):
    theirs = reference(transformers.XLMWithLMHeadModel, **KINDS[kind])
    head = LanguageModelHead.from_pretrained(save(theirs, tmp_path, "safetensors"))
    hidden_ND, targets_N = torch.randn(500, 32), torch.arange(500) % 60
    monkeypatch.setattr(language_modeling, "_MAX_SCORES", 7 * TINY["vocab_size"])
    for function in (lambda: head.token_log_probs(hidden_ND, targets_N), lambda: head.top_k(hidden_ND, 4)):
        with LargestTensor() as largest:
            function()
        assert largest.numel <= 500 * 4  # the number of requested words; all logits would be 500 * 60


def test_generate_equals_the_reference_without_its_cache(tmp_path, parity):
    theirs = reference(transformers.XLMWithLMHeadModel, causal=True)
    ours = XLMWithLMHeadModel.from_pretrained(save(theirs, tmp_path, "safetensors"))
    (ids, _), *_ = sequences([6])
    arguments = {"max_new_tokens": 7, "eos_token_id": 1}
    expected = theirs.generate(ids, use_cache=False, do_sample=False, pad_token_id=2, **arguments)
    parity.exact("generated tokens", "XLMWithLMHeadModel.generate", ours.generate(ids, **arguments), expected)
