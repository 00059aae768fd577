"""Text generation: independence of the batch, end tokens, filters, and invalid arguments."""

import dataclasses

import numpy as np
import pytest
import torch

from xlm_core import XLMWithLMHeadModel
from xlm_core.checkpoint.config import XLMConfig
from xlm_core.errors import FatalError
from xlm_core.generation.generate import GenerationSettings, generate
from xlm_core.ragged import cumulative_lengths

MASK, PAD = 5, 2
CONFIG = XLMConfig(
    vocab_size=40,
    emb_dim=32,
    n_layers=2,
    n_heads=4,
    n_langs=3,
    max_position_embeddings=20,
    causal=True,
    mask_token_id=MASK,
)
LENGTHS = np.array([3, 9, 1, 20, 6, 3, 19, 12])
GREEDY = GenerationSettings(max_new_tokens=7, mask_token_id=MASK)
SAMPLING = dataclasses.replace(GREEDY, do_sample=True, temperature=1.3, top_k=30, top_p=0.95, seed=11)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    model = XLMWithLMHeadModel(CONFIG).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # at the initial deviation of 0.02 all continuations would be the same
            parameter.add_(0.25 * torch.randn_like(parameter))
    return model


@pytest.fixture(scope="module")
def prompts():
    generator = np.random.default_rng(1)
    ids = generator.integers(6, 40, LENGTHS.sum(), dtype=np.int32)
    return np.split(ids, np.cumsum(LENGTHS)[:-1]), generator.integers(-1, 3, len(LENGTHS))


def run(model, texts, langs, settings, **options):
    """Return the new tokens of each prompt as a list."""
    cu_seqlens = cumulative_lengths(np.array([len(text) for text in texts]))
    new_ids, cu_new = generate(model.trunk, model.head, np.concatenate(texts), cu_seqlens, langs, settings, **options)
    assert new_ids.dtype == cu_new.dtype == np.int32
    return [part.tolist() for part in np.split(new_ids, cu_new[1:-1])]


@pytest.mark.parametrize("settings", [GREEDY, SAMPLING], ids=["greedy", "sampling"])
def test_continuation_is_independent_of_the_batch(model, prompts, settings):
    texts, langs = prompts
    expected = [run(model, [text], langs[[i]], settings)[0] for i, text in enumerate(texts)]
    order = np.random.default_rng(3).permutation(len(texts))
    shuffled = run(model, [texts[i] for i in order], langs[order], settings)
    assert shuffled == [expected[i] for i in order]
    for max_tokens in (1, 30, 50, 10_000):
        assert run(model, texts, langs, settings, max_tokens=max_tokens) == expected


def test_sample_depends_only_on_the_seed_the_text_and_the_language(model, prompts):
    text = prompts[0][1]
    first, again, other = run(model, [text] * 3, np.array([0, 0, 1]), SAMPLING)
    assert first == again
    assert first != other
    reseeded = dataclasses.replace(SAMPLING, seed=12)
    assert run(model, [text], np.array([0]), reseeded)[0] != first
    longer = dataclasses.replace(SAMPLING, max_new_tokens=9)
    assert run(model, [text], np.array([0]), longer)[0][:7] == first


def test_generation_stops_at_an_end_token(model, prompts):
    texts, langs = prompts
    free = run(model, texts, langs, SAMPLING)
    ends = (free[0][2], free[4][4])
    cut = [next((step for step, token in enumerate(tokens) if token in ends), len(tokens)) for tokens in free]
    assert len(set(cut)) > 2
    ending = dataclasses.replace(SAMPLING, eos_token_ids=ends)
    assert run(model, texts, langs, ending) == [tokens[:n] for tokens, n in zip(free, cut, strict=True)]
    keeping = dataclasses.replace(ending, keep_eos=True)
    assert run(model, texts, langs, keeping) == [tokens[: n + 1] for tokens, n in zip(free, cut, strict=True)]


def test_text_can_fill_every_position_and_no_more(model, prompts):
    texts, langs = prompts
    long = dataclasses.replace(GREEDY, max_new_tokens=10**12)
    assert [len(tokens) for tokens in run(model, texts, langs, long)] == (20 - LENGTHS).tolist()
    assert run(model, [texts[3]], langs[[3]], long) == [[]]
    with pytest.raises(ValueError, match="prompt 1: got 21 tokens, expected at most 20"):
        run(model, [texts[0], np.full(21, 7)], None, long)
    with pytest.raises(ValueError, match=r"langs: got 3, expected one per prompt \(2\)"):
        run(model, texts[:2], langs[:3], long)


def test_forbidden_tokens_are_never_generated(model, prompts):
    texts, langs = prompts
    banned = tuple(range(10, 40))
    for settings in (GREEDY, SAMPLING):
        assert any(token in banned for tokens in run(model, texts, langs, settings) for token in tokens)
        allowed = run(model, texts, langs, dataclasses.replace(settings, forbidden_ids=banned))
        assert [len(tokens) for tokens in allowed] == [7, 7, 7, 0, 7, 7, 1, 7]
        assert all(token < 10 for tokens in allowed for token in tokens)


@pytest.mark.parametrize("banned", [(40,), (-1,), tuple(range(40))])
def test_invalid_forbidden_ids_raise_an_error(model, prompts, banned):
    with pytest.raises(ValueError, match=r"forbidden_ids: got .*, expected ids from 0 to 39 .* not all of them"):
        run(model, *prompts, dataclasses.replace(GREEDY, forbidden_ids=banned))


def test_sampling_with_the_narrowest_filters_equals_greedy(model, prompts):
    expected = run(model, *prompts, GREEDY)
    for narrow in (
        {"top_k": 1, "top_p": 1.0},
        {"top_k": 0, "top_p": 1e-6},
        {"temperature": 1e-4},
        {"temperature": 1e-300},
    ):
        assert run(model, *prompts, dataclasses.replace(SAMPLING, **narrow)) == expected


def test_langs_none_equals_minus_one_and_generate_uses_the_configured_language(model, prompts):
    texts, _ = prompts
    assert run(model, texts, None, SAMPLING) == run(model, texts, np.full(len(texts), -1), SAMPLING)
    ids = torch.from_numpy(texts[0])[None].long()
    options = {"max_new_tokens": 7, "eos_token_id": []}
    in_lang_1 = model.generate(ids, langs=1, **options)
    assert in_lang_1[0, 3:].tolist() == run(model, texts[:1], np.array([1]), GREEDY)[0]
    assert not torch.equal(in_lang_1, model.generate(ids, langs=2, **options))
    by_default = model.generate(ids, **options)
    assert torch.equal(by_default, model.generate(ids, langs=torch.tensor([CONFIG.lang_id]), **options))


def test_top_k_none_equals_zero(model):
    options = {"max_new_tokens": 7, "eos_token_id": [], "do_sample": True, "temperature": 9.0}
    ids = torch.tensor([[7, 8, 9]])
    assert torch.equal(model.generate(ids, top_k=None, **options), model.generate(ids, top_k=0, **options))


def test_no_prompts_give_no_tokens(model):
    new_ids, cu_new = generate(model.trunk, model.head, np.array([], np.int32), np.array([0]), None, GREEDY)
    assert (len(new_ids), cu_new.tolist()) == (0, [0])


def test_masked_model_raises_an_error():
    masked = XLMWithLMHeadModel(dataclasses.replace(CONFIG, causal=False)).eval()
    with pytest.raises(FatalError, match=r"config\.json has causal: false, .*; set the objective to causal"):
        masked.generate(torch.tensor([[7]]), max_new_tokens=1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens: got 0, expected at least 1"),
        ({"temperature": 0.0}, "temperature: got 0.0, expected above 0"),
        ({"top_k": -1}, "top_k: got -1"),
        ({"top_p": 0.0}, "top_p: got 0.0"),
        ({"top_p": 1.1}, "top_p: got 1.1"),
    ],
)
def test_invalid_settings_raise_an_error(changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(GREEDY, **changes)


def test_invalid_arguments_of_generate_raise_an_error(model):
    ids = torch.tensor([[7, 8, 9]])
    for lengths in ({}, {"max_length": 5, "max_new_tokens": 2}):
        with pytest.raises(ValueError, match="give exactly one of max_new_tokens and max_length"):
            model.generate(ids, **lengths)
    with pytest.raises(ValueError, match=r"max_length: got 3, expected more than 3 \(the length of the prompts\)"):
        model.generate(ids, max_length=3)
    with pytest.raises(ValueError, match="no token"):
        model.generate(torch.full((1, 3), PAD), max_new_tokens=1)
    for langs in (torch.zeros_like(ids), torch.zeros(2, dtype=torch.int64)):
        with pytest.raises(ValueError, match=r"langs: got shape \[.*, expected one id or shape \[1\]"):
            model.generate(ids, langs=langs, max_new_tokens=1)
    for field in ("mask_token_id", "pad_token_id"):
        lacking = XLMWithLMHeadModel(dataclasses.replace(CONFIG, **{field: None}))
        with pytest.raises(ValueError, match=f"{field}: not set in the configuration"):
            lacking.generate(ids, max_new_tokens=1)
