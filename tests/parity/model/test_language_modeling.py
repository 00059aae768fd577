"""The language model head against the reference: tied, untied and adaptive."""

import copy

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tests.parity.reference_model import HIDDEN, LOGITS, TINY, pack, packed_ways, padded, reference, save, sequences
from xlm_core import XLMModel, XLMWithLMHeadModel
from xlm_core.errors import CheckpointError
from xlm_core.heads import LanguageModelHead, language_modeling

KINDS = {
    "tied": {},
    "untied": {"tie_word_embeddings": False},
    "tied, causal": {"causal": True},
    "adaptive": {"asm": True, "asm_cutoffs": [10, 30], "asm_div_value": 2.0},
    "adaptive, untied": {"asm": True, "asm_cutoffs": [20], "asm_div_value": 4.0, "tie_word_embeddings": False},
}


def expected_logits(theirs, drawn):
    """Run the reference on each sequence alone; its adaptive softmax takes no batch, so it is given the tokens flat."""
    if not theirs.config.asm:
        return torch.cat([theirs(ids, langs=langs).logits[0] for ids, langs in drawn])
    hidden = [theirs.transformer(ids, langs=langs).last_hidden_state[0] for ids, langs in drawn]
    return torch.cat([theirs.pred_layer.proj.log_prob(hidden_TD) for hidden_TD in hidden])


@pytest.mark.usefixtures("no_gradients")
@pytest.mark.parametrize("form", ["safetensors", "bin", "old bin"])
@pytest.mark.parametrize("kind", KINDS)
def test_scores_of_all_words(tmp_path, parity, kind, form):
    theirs = reference(transformers.XLMWithLMHeadModel, **KINDS[kind])
    ours = XLMWithLMHeadModel.from_pretrained(save(theirs, tmp_path, form))
    trunk, head = XLMModel.from_pretrained(tmp_path), LanguageModelHead.from_pretrained(tmp_path)
    drawn = sequences()
    expected = expected_logits(theirs, drawn)
    batch = pack(drawn)
    hidden_TD = trunk.forward_packed(batch)
    ids, langs, mask = padded(drawn)
    output = ours(ids, mask, langs=langs, output_hidden_states=True)
    for got in (
        *packed_ways(ours, drawn),
        head.forward_packed(hidden_TD, batch.cu_seqlens),
        output.logits[mask.bool()],
    ):
        parity("language model, scores", f"{kind}, {form}", got, expected, LOGITS)
    log_probs = expected.log_softmax(-1)  # which changes no log-probabilities
    parity("language model, log-probabilities", kind, head.log_probs(hidden_TD), log_probs, LOGITS)
    got = head.token_log_probs(hidden_TD, batch.input_ids)
    parity("language model, log-probabilities", kind, got, log_probs.gather(1, batch.input_ids[:, None])[:, 0], LOGITS)
    if not theirs.config.asm:
        wanted = theirs(ids, attention_mask=mask, langs=langs, output_hidden_states=True)
        parity("language model, scores", f"{kind}, padded, pads included", output.logits, wanted.logits, LOGITS)
        parity("language model, every layer", kind, output.hidden_states, wanted.hidden_states, HIDDEN)
        kept = [model(ids, attention_mask=mask, langs=langs, logits_to_keep=3).logits for model in (ours, theirs)]
        parity("language model, scores", f"{kind}, last columns", *kept, LOGITS)


@pytest.mark.usefixtures("no_gradients")
@pytest.mark.parametrize("kind", KINDS)
def test_loss(tmp_path, parity, kind):
    theirs = reference(transformers.XLMWithLMHeadModel, **KINDS[kind])
    ours = XLMWithLMHeadModel.from_pretrained(save(theirs, tmp_path, "safetensors"))
    ids, langs, mask = padded(sequences())
    labels = ids.roll(1, dims=1)
    for case, targets in {
        "every column": labels,
        "some": labels.masked_fill((mask == 0) | (ids % 3 == 0), -100),
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
def test_a_batch_without_labels_leaves_the_weights_as_they_are(tmp_path, kind):
    """As in the reference: the loss is not a number, and the gradients are."""
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
def test_chunks_change_nothing(tmp_path, monkeypatch, kind):
    theirs = reference(transformers.XLMWithLMHeadModel, **KINDS[kind])
    head = LanguageModelHead.from_pretrained(save(theirs, tmp_path, "safetensors"))
    generator = torch.Generator().manual_seed(0)
    hidden_ND = torch.randn(31, 32, generator=generator)
    targets_N = torch.randint(0, 60, (31,), generator=generator)
    whole = head.token_log_probs(hidden_ND, targets_N), *head.top_k(hidden_ND, 4)
    monkeypatch.setattr(language_modeling, "_MAX_SCORES", 7 * TINY["vocab_size"])
    chunked = head.token_log_probs(hidden_ND, targets_N), *head.top_k(hidden_ND, 4)
    for got, expected in zip(chunked, whole, strict=True):
        torch.testing.assert_close(got, expected, atol=1e-6, rtol=0)
    probs, ids = whole[1:]
    log_probs = head.log_probs(hidden_ND)
    torch.testing.assert_close(probs.log(), log_probs.gather(1, ids), atol=1e-6, rtol=0)
    assert torch.equal(probs[:, 0].argsort(), log_probs.amax(1).exp().argsort())
    assert torch.equal(probs, probs.sort(descending=True).values)
    assert (log_probs > probs[:, -1:].log() + 1e-6).sum() == 31 * 3  # none is better than the fourth but three
    assert head.token_log_probs(hidden_ND[:0], targets_N[:0]).shape == (0,)
    assert head.top_k(hidden_ND[:0], 4)[0].shape == (0, 4)
    with pytest.raises(ValueError, match="k: got 61, expected 1 to 60"):
        head.top_k(hidden_ND, 61)


class LargestTensor(TorchDispatchMode):
    """Notes the most numbers that one operation has put out."""

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
def test_the_scores_of_all_rows_never_exist_at_once(tmp_path, monkeypatch, kind):
    theirs = reference(transformers.XLMWithLMHeadModel, **KINDS[kind])
    head = LanguageModelHead.from_pretrained(save(theirs, tmp_path, "safetensors"))
    hidden_ND, targets_N = torch.randn(500, 32), torch.arange(500) % 60
    monkeypatch.setattr(language_modeling, "_MAX_SCORES", 7 * TINY["vocab_size"])
    for ask in (lambda: head.token_log_probs(hidden_ND, targets_N), lambda: head.top_k(hidden_ND, 4)):
        with LargestTensor() as largest:
            ask()
        assert largest.numel <= 500 * 4  # the most words asked for; the scores of all would be 500 * 60


def test_it_generates_as_the_reference_does_without_its_cache(tmp_path, parity):
    theirs = reference(transformers.XLMWithLMHeadModel, causal=True)
    ours = XLMWithLMHeadModel.from_pretrained(save(theirs, tmp_path, "safetensors"))
    (ids, _), *_ = sequences([6])
    arguments = {"max_new_tokens": 7, "eos_token_id": 1}
    expected = theirs.generate(ids, use_cache=False, do_sample=False, pad_token_id=2, **arguments)
    parity.exact("generated tokens", "XLMWithLMHeadModel.generate", ours.generate(ids, **arguments), expected)


def is_one_parameter(model):
    return model.head.pred_layer.proj.weight is model.trunk.embeddings.weight


@pytest.mark.parametrize("form", ["safetensors", "bin"])
def test_tied_is_one_parameter_through_everything(tmp_path, form):
    theirs = reference(transformers.XLMWithLMHeadModel)
    (tmp_path / "theirs").mkdir()
    model = XLMWithLMHeadModel.from_pretrained(save(theirs, tmp_path / "theirs", form))
    assert is_one_parameter(model)
    assert is_one_parameter(XLMWithLMHeadModel(model.config))
    assert is_one_parameter(model.to(torch.float64))
    assert is_one_parameter(copy.deepcopy(model).to("meta").to_empty(device="cpu"))
    model.load_state_dict(model.state_dict())
    assert is_one_parameter(model.to(torch.float32))
    assert (
        len(list(model.parameters())) == len(list(theirs.parameters())) - 2 * 2 * 2
    )  # q, k and v are one: w, b, layers
    with torch.no_grad():
        model.trunk.embeddings.weight[7] += 1
    assert torch.equal(model.head.pred_layer.proj.weight[7], model.trunk.embeddings.weight[7])
    model.save_pretrained(tmp_path / "ours")
    names = load_file(tmp_path / "ours" / "model.safetensors").keys()
    assert "transformer.embeddings.weight" in names
    assert "pred_layer.proj.weight" not in names
    assert is_one_parameter(XLMWithLMHeadModel.from_pretrained(tmp_path / "ours"))
    again = transformers.XLMWithLMHeadModel.from_pretrained(tmp_path / "ours")
    assert torch.equal(again.pred_layer.proj.weight, model.trunk.embeddings.weight)


def test_one_parameter_learns_from_both_sides(tmp_path):
    theirs = reference(transformers.XLMWithLMHeadModel)
    ours = XLMWithLMHeadModel.from_pretrained(save(theirs, tmp_path, "safetensors"))
    ids, langs, mask = padded(sequences([6, 4]))
    for model in (ours, theirs):
        model(ids, attention_mask=mask, langs=langs, labels=ids).loss.backward()
    expected = theirs.transformer.embeddings.weight.grad
    torch.testing.assert_close(ours.trunk.embeddings.weight.grad, expected, atol=1e-5, rtol=0)


def test_untied_stays_two(tmp_path):
    theirs = reference(transformers.XLMWithLMHeadModel, tie_word_embeddings=False)
    model = XLMWithLMHeadModel.from_pretrained(save(theirs, tmp_path, "safetensors"))
    assert not torch.equal(model.head.pred_layer.proj.weight, model.trunk.embeddings.weight)
    assert torch.equal(model.head.pred_layer.proj.weight, theirs.pred_layer.proj.weight)
    model.save_pretrained(tmp_path)
    assert not is_one_parameter(XLMWithLMHeadModel.from_pretrained(tmp_path))


def test_a_file_whose_twins_differ_is_refused(tmp_path):
    save(reference(transformers.XLMWithLMHeadModel), tmp_path, "safetensors")
    tensors = load_file(tmp_path / "model.safetensors")
    tensors["pred_layer.proj.weight"] = tensors["transformer.embeddings.weight"] + 1
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"model.safetensors: pred_layer.proj.weight: differs from embeddings"):
        XLMWithLMHeadModel.from_pretrained(tmp_path)


def test_twins_may_hold_what_is_no_number(tmp_path):
    model = XLMWithLMHeadModel.from_pretrained(save(reference(transformers.XLMWithLMHeadModel), tmp_path, "bin"))
    with torch.no_grad():
        model.trunk.embeddings.weight[7] = torch.nan
    model.save_pretrained(tmp_path)
    assert XLMWithLMHeadModel.from_pretrained(tmp_path).head.pred_layer.proj.weight[7].isnan().all()
    tensors = load_file(tmp_path / "model.safetensors")
    tensors["pred_layer.proj.weight"] = tensors["transformer.embeddings.weight"].clone()
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    assert is_one_parameter(XLMWithLMHeadModel.from_pretrained(tmp_path))


def test_a_head_can_share_the_vectors_of_a_trunk(tmp_path):
    save(reference(transformers.XLMWithLMHeadModel), tmp_path, "safetensors")
    trunk, head = XLMModel.from_pretrained(tmp_path), LanguageModelHead.from_pretrained(tmp_path)
    assert torch.equal(head.pred_layer.proj.weight, trunk.embeddings.weight)
    head.tie(trunk.embeddings)
    assert head.pred_layer.proj.weight is trunk.embeddings.weight
