"""Log-probabilities of tokens, compared with the reference run once per sequence or once per masked token."""

import numpy as np
import pytest
import torch
import transformers

from tests.parity.reference_model import LENGTHS, LOGITS, TINY, reference, save, sequences
from xlm_core import XLMWithLMHeadModel
from xlm_core.generation.scoring import perplexity, score_causal, score_masked, sum_scores
from xlm_core.model.packing import PackedBatch
from xlm_core.ragged import cumulative_lengths

pytestmark = pytest.mark.usefixtures("no_gradients")

MASK = 5
VARIANTS = {
    "languages": {},
    "no language embeddings": {"use_lang_emb": False},
    "sinusoidal": {"sinusoidal_embeddings": True},
    "adaptive softmax": {"asm": True, "asm_cutoffs": [10, 30], "asm_div_value": 2.0},
}


def build(directory, **changes):
    theirs = reference(transformers.XLMWithLMHeadModel, **changes)
    return theirs, XLMWithLMHeadModel.from_pretrained(save(theirs, directory, "safetensors"))


def ragged():
    """Return ids [T], cu_seqlens and one language per sequence, or -1 for none."""
    ids = torch.cat([ids[0] for ids, _ in sequences()]).numpy().astype(np.int32)
    return ids, cumulative_lengths(np.array(LENGTHS)), np.arange(len(LENGTHS)) % (TINY["n_langs"] + 1) - 1


def texts(ids, cu_seqlens, langs):
    """Yield each sequence in the reference's form: ids [1, n] and langs [1, n] or None."""
    for text, lang in zip(np.split(ids, cu_seqlens[1:-1]), langs, strict=True):
        ids_1L = torch.from_numpy(text).long()[None]
        yield ids_1L, None if lang < 0 else torch.full_like(ids_1L, int(lang))


def log_probs(theirs, ids_1L, langs_1L):
    """Compute [L, V]; calls the head, because the reference's adaptive softmax takes no batch dimension."""
    hidden_LD = theirs.transformer(ids_1L, langs=langs_1L).last_hidden_state[0]
    scores_LV = theirs.pred_layer(hidden_LD)[0]
    return scores_LV if theirs.config.asm else scores_LV.log_softmax(-1)


@pytest.mark.parametrize("variant", VARIANTS)
def test_causal_scores(tmp_path, parity, variant):
    theirs, ours = build(tmp_path, causal=True, **VARIANTS[variant])
    expected = []
    for ids_1L, langs_1L in texts(*ragged()):
        log_probs_LV = log_probs(theirs, ids_1L, langs_1L)
        expected.append(torch.tensor([torch.nan]))
        expected.append(log_probs_LV[:-1].gather(1, ids_1L[0, 1:, None])[:, 0])
    batch = PackedBatch.from_ragged(*ragged())
    scores_T = score_causal(ours.head, ours.trunk.forward_packed(batch), batch.input_ids, batch.cu_seqlens)
    assert scores_T.dtype == torch.float32
    parity("causal log-probabilities", variant, scores_T, torch.cat(expected), LOGITS)


def test_text_of_one_token_has_no_score(tmp_path):
    _, ours = build(tmp_path, causal=True)
    batch = PackedBatch.from_ragged(np.array([7]), np.array([0, 1]))
    hidden_TD = ours.trunk.forward_packed(batch)
    assert score_causal(ours.head, hidden_TD, batch.input_ids, batch.cu_seqlens).isnan().tolist() == [True]


@pytest.fixture
def scored():
    chosen = np.random.default_rng(0).random(sum(LENGTHS)) < 0.7
    chosen[:5] = False  # a sequence without scored tokens
    return chosen


@pytest.mark.parametrize("variant", VARIANTS)
def test_masked_scores(tmp_path, parity, variant, scored):
    theirs, ours = build(tmp_path, **VARIANTS[variant])
    ids, cu_seqlens, langs = ragged()
    expected = np.full(len(ids), np.nan, np.float32)
    for start, (ids_1L, langs_1L) in zip(cu_seqlens, texts(ids, cu_seqlens, langs), strict=False):
        for position in np.flatnonzero(scored[start : start + ids_1L.shape[1]]):
            masked_1L = ids_1L.clone()
            masked_1L[0, position] = MASK
            expected[start + position] = log_probs(theirs, masked_1L, langs_1L)[position, ids_1L[0, position]]
    for max_tokens in (1, 24, 60, 10_000):
        got = score_masked(ours.trunk, ours.head, ids, cu_seqlens, langs, scored, MASK, max_tokens)
        parity("masked log-probabilities", f"{variant}, any budget", got, expected, LOGITS)


def test_masked_scores_of_copies_that_run_alone_are_bit_identical(tmp_path, scored):
    _, ours = build(tmp_path)
    ids, cu_seqlens, langs = ragged()

    def score(sequences):
        parts = [np.arange(cu_seqlens[i], cu_seqlens[i + 1]) for i in sequences]
        tokens = np.concatenate(parts)
        cu_parts = cumulative_lengths(np.array([len(part) for part in parts]))
        found = np.empty(len(ids), np.float32)
        found[tokens] = score_masked(
            ours.trunk, ours.head, ids[tokens], cu_parts, langs[sequences], scored[tokens], MASK, max_tokens=1
        )
        return found

    all_sequences = np.arange(len(LENGTHS))
    expected = score(all_sequences)
    assert np.array_equal(np.isnan(expected), ~scored)
    assert np.array_equal(score(all_sequences[::-1]), expected, equal_nan=True)  # bit-identical
    alone = np.concatenate([score([i])[cu_seqlens[i] : cu_seqlens[i + 1]] for i in all_sequences])
    assert np.array_equal(alone, expected, equal_nan=True)


def test_no_scored_tokens_give_nan(tmp_path):
    _, ours = build(tmp_path)
    ids, cu_seqlens, _ = ragged()
    assert np.isnan(
        score_masked(ours.trunk, ours.head, ids, cu_seqlens, None, np.zeros(len(ids), bool), MASK, 50)
    ).all()


def test_invalid_arguments_raise_an_error(tmp_path, scored):
    _, ours = build(tmp_path, causal=True)
    with pytest.raises(ValueError, match="causal"):
        score_masked(ours.trunk, ours.head, *ragged(), scored, MASK, 50)
    (tmp_path / "masked").mkdir()
    _, ours = build(tmp_path / "masked")
    for wrong in (scored[:-1], scored.astype(np.int8)):
        with pytest.raises(ValueError, match=r"scored: got .*, expected bool"):
            score_masked(ours.trunk, ours.head, *ragged(), wrong, MASK, 50)


def test_sums_and_perplexity():
    scores = np.array([np.nan, -1, -2, np.nan, -0.5, np.nan, np.nan], np.float32)
    log_likelihood, num_scored = sum_scores(scores, np.isfinite(scores), np.array([0, 3, 5, 7]))
    assert log_likelihood.tolist() == [-3.0, -0.5, 0.0]
    assert num_scored.tolist() == [2, 1, 0]
    np.testing.assert_allclose(perplexity(log_likelihood, num_scored), [np.exp(1.5), np.exp(0.5), np.nan])
    with_nan, _ = sum_scores(scores, np.array([False, True, True, True, True, False, False]), np.array([0, 3, 7]))
    assert with_nan[0] == -3.0
    assert np.isnan(with_nan[1])  # missing scores are not ignored
