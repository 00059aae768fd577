"""Text generation, compared with the reference's `generate(..., use_cache=False)` for each prompt alone."""

import numpy as np
import pytest
import torch
import transformers
from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from tests.parity.reference_model import HIDDEN, MAX_POSITIONS, TINY, reference, save
from xlm_core import XLMWithLMHeadModel
from xlm_core.generation.generate import GenerationSettings, generate
from xlm_core.generation.sampling import filter_scores
from xlm_core.model.kv_cache import KeyValueCache
from xlm_core.model.packing import PackedBatch
from xlm_core.ragged import cumulative_lengths

pytestmark = pytest.mark.usefixtures("no_gradients")

TIE = 1e-6  # difference of the two best logits below which rounding decides
PAD, EOS, MASK = TINY["pad_token_id"], 1, 5
LENGTHS = [5, 1, 20, 7, 5, 12, 23, 2]
MAX_NEW = 12

VARIANTS = {
    "no language embeddings": {"use_lang_emb": False},
    "one language": {"n_langs": 1},
    "language 0": {"lang_id": 0},
    "language 2": {"lang_id": 2},
    "sinusoidal": {"sinusoidal_embeddings": True, "lang_id": 1},
    "relu": {"gelu_activation": False},
    "three layers, other layer norm": {"n_layers": 3, "layer_norm_eps": 1e-3, "emb_dim": 48, "n_heads": 3},
    "untied": {"tie_word_embeddings": False},
}


def build(directory, **changes):
    theirs = reference(transformers.XLMWithLMHeadModel, causal=True, mask_token_id=MASK, **changes)
    # without scaling, the mask token and the biases outweigh the prompt
    for name, parameter in theirs.named_parameters():
        parameter.mul_(0.2 if name.endswith("bias") else 6.0 if "attentions" in name else 1.0)
    return theirs, XLMWithLMHeadModel.from_pretrained(save(theirs, directory, "safetensors"))


def draw_prompts(seed, lengths=LENGTHS):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(6, TINY["vocab_size"], (1, length), generator=generator) for length in lengths]


def continue_alone(theirs, prompt, num_new, **options):
    """Return the reference's tokens, up to a tie or a pad.

    The reference computes the length of a text by counting tokens that are not pads, so a generated pad hides the mask
    token.
    """
    output = theirs.generate(
        prompt,
        attention_mask=torch.ones_like(prompt),
        max_new_tokens=num_new,
        use_cache=False,
        output_logits=True,
        return_dict_in_generate=True,
        **options,
    )
    tokens = output.sequences[0, prompt.shape[1] :].tolist()
    for step, logits_1V in enumerate(output.logits):
        best, second = logits_1V[0].topk(2).values.tolist()
        if best - second < TIE:
            return tokens[:step]
        if tokens[step] == PAD:
            return tokens[: step + 1]
    return tokens


@pytest.mark.parametrize("variant", VARIANTS)
def test_greedy_generation(tmp_path, parity, variant):
    theirs, ours = build(tmp_path, **VARIANTS[variant])
    settings = GenerationSettings(max_new_tokens=MAX_NEW, mask_token_id=MASK)
    distinct = set()
    for seed in range(3):
        prompts = draw_prompts(seed)
        ids = torch.cat(prompts, dim=1)[0].numpy().astype(np.int32)
        langs = np.full(len(prompts), theirs.config.lang_id)
        new_ids, cu_new = generate(ours.trunk, ours.head, ids, cumulative_lengths(np.array(LENGTHS)), langs, settings)
        for prompt, got in zip(prompts, np.split(new_ids, cu_new[1:-1]), strict=True):
            num_new = min(MAX_NEW, MAX_POSITIONS - prompt.shape[1])
            assert len(got) == num_new
            expected = continue_alone(theirs, prompt, num_new, eos_token_id=None)
            parity.exact("generated tokens", variant, got[: len(expected)], expected)
            distinct.add(tuple(expected))
    assert len(distinct) > 12  # the result depends on the prompt


def test_generate_with_padded_prompts(tmp_path, parity):
    theirs, ours = build(tmp_path)
    prompts = draw_prompts(3, [4, 9, 1, 6, 9])
    width, eos_ids = 9, []
    for prompt in prompts:  # end tokens that stop some rows early, at different steps
        eos_ids.append(continue_alone(theirs, prompt, 8, eos_token_id=None)[len(eos_ids)])
    eos_ids = eos_ids[1:4]
    expected = [continue_alone(theirs, prompt, 8, eos_token_id=eos_ids) for prompt in prompts]
    num_new = max(map(len, expected))
    assert len({len(tokens) for tokens in expected}) > 1
    for left in (False, True):
        ids = torch.full((len(prompts), width), PAD)
        for row, prompt in enumerate(prompts):
            ids[row, width - prompt.shape[1] if left else 0 :][: prompt.shape[1]] = prompt[0]
        got = ours.generate(ids, ids != PAD, max_new_tokens=8, eos_token_id=eos_ids)
        assert torch.equal(got[:, :width], ids)
        rows = [tokens + [PAD] * (num_new - len(tokens)) for tokens in expected]
        parity.exact("generated tokens", "padded batch, ended rows filled", got[:, width:], rows)
        if not left:
            assert torch.equal(ours.generate(ids, max_length=width + 8, eos_token_id=eos_ids), got)


def test_output_layout_equals_the_reference_for_prompts_of_equal_length(tmp_path, parity):
    theirs, ours = build(tmp_path, lang_id=1)
    ids = torch.cat(draw_prompts(4, [6] * 5))
    eos = continue_alone(theirs, ids[:1], 6, eos_token_id=None)[2]
    options = {"max_length": 14, "eos_token_id": eos, "do_sample": False}
    expected = theirs.generate(ids, attention_mask=torch.ones_like(ids), use_cache=False, pad_token_id=PAD, **options)
    assert (expected == PAD).any()
    parity.exact("generated tokens", "batch of equal lengths", ours.generate(ids, **options), expected)
    every_token = list(range(TINY["vocab_size"]))
    assert ours.generate(ids, max_new_tokens=6, eos_token_id=every_token).shape == (5, 7)


@pytest.mark.parametrize("num_steps", [1, 5])
def test_hidden_states_with_and_without_a_cache_are_equal(tmp_path, parity, num_steps):
    _, ours = build(tmp_path)
    lengths = np.array([4, 1, 17, 4, 8])
    ids = torch.cat(draw_prompts(5, lengths.tolist()), dim=1)[0].numpy()
    langs = np.array([0, -1, 2, 1, 0])
    texts = np.split(ids, np.cumsum(lengths)[:-1])
    cache = KeyValueCache(ours.config, len(lengths), 24, torch.device("cpu"), torch.float32)
    kept = np.arange(len(lengths))
    for step in range(num_steps + 1):
        sequences = [np.append(texts[i], MASK) for i in kept]
        full = PackedBatch.from_ragged(
            np.concatenate(sequences), cumulative_lengths(np.array([len(tokens) for tokens in sequences])), langs[kept]
        )
        expected = ours.trunk.forward_with_plan(full, ours.trunk.plan_attention(full), output_hidden_states=True)
        if step == 0:
            states = ours.trunk.forward_with_plan(
                full, cache.plan_prefill(full, ours.trunk.plan_attention(full)), output_hidden_states=True
            )
        else:
            last = np.cumsum([len(tokens) for tokens in sequences]) - 1
            indices = torch.from_numpy(np.stack([last - 1, last], axis=1).ravel())
            pairs = PackedBatch(
                full.input_ids[indices],
                full.positions[indices],
                torch.arange(0, len(indices) + 1, 2, dtype=torch.int32),
                full.langs[indices],
            )
            states = ours.trunk.forward_with_plan(pairs, cache.plan_decode(pairs), output_hidden_states=True)
            expected = [state_TD[indices] for state_TD in expected]
        parity("hidden states with a cache", "every layer and step", list(states), list(expected), HIDDEN)
        texts = [np.append(text, 6 + (7 * len(text) + i) % 50) for i, text in enumerate(texts)]
        if step == 2:
            cache.keep_sequences(np.array([0, 2, 4]))
            kept = kept[[0, 2, 4]]


FILTERS = [
    {"temperature": 0.5},
    {"temperature": 2.5},
    {"top_k": 1},
    {"top_k": 7},
    {"top_k": 1000},
    {"top_p": 0.9},
    {"top_p": 0.05},
    {"temperature": 1.7, "top_k": 20, "top_p": 0.6},
]


@pytest.mark.parametrize("options", FILTERS, ids=str)
def test_sampling_filters(parity, options):
    warpers = {"temperature": TemperatureLogitsWarper, "top_k": TopKLogitsWarper, "top_p": TopPLogitsWarper}
    scores_BV = 3 * torch.randn(40, 60, generator=torch.Generator().manual_seed(0))
    if "top_p" not in options:  # it may keep or separate equal scores, depending on the sort
        scores_BV[:, 11] = scores_BV[:, 12] = scores_BV.amax(-1)
    expected_BV = scores_BV
    for name, value in options.items():
        expected_BV = warpers[name](value)(None, expected_BV)
    ours_BV = filter_scores(scores_BV, **options)
    assert ours_BV.isfinite().any(-1).all()
    if options.get("top_k", 60) < 60 or "top_p" in options:
        assert not ours_BV.isfinite().all()
    assert torch.equal(ours_BV.isfinite(), expected_BV.isfinite())
    # compare distributions, because adding a constant to a row of scores changes nothing
    parity("sampling filters", ", ".join(options), ours_BV.softmax(-1), expected_BV.softmax(-1), 1e-6)
