"""Candidates of question answering heads, compared with scoring every span."""

import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from xlm_core.decoding import answers, beam_candidates, simple_candidates

# question and context of each window in tokens: `<s> Q </s> C </s>`
some_windows = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9)), max_size=5)


def build_windows(windows):
    """Return which tokens belong to the contexts, and cu_seqlens of the windows."""
    allowed, cu_seqlens = [], [0]
    for question, context in windows:
        allowed += [False] * (question + 2) + [True] * context + [False]
        cu_seqlens.append(len(allowed))
    return np.array(allowed, np.bool_), np.array(cu_seqlens, np.int32)


def class_tokens_of(allowed, cu_seqlens):
    """Return a class token for each window; here the last token before its context."""
    return np.array([b + max(int(allowed[b:e].argmax()) - 1, 0) for b, e in pairwise(cu_seqlens)], np.int64)


def softmax(logits):
    exp = np.exp(logits.astype(np.float64) - logits.max())
    return exp / exp.sum()


def score_all_spans(start_logits, end_logits, cu_seqlens, class_tokens, allowed, top_k, max_answer_tokens):
    """Score every span of every window."""
    found, no_answer = [], []
    for s, (begin, stop) in enumerate(pairwise(cu_seqlens)):
        tokens = [class_tokens[s], *(t for t in range(begin, stop) if allowed[t])]
        starts = dict(zip(tokens, softmax(start_logits[tokens]), strict=True))
        ends = dict(zip(tokens, softmax(end_logits[tokens]), strict=True))
        no_answer.append(starts[class_tokens[s]] * ends[class_tokens[s]])
        spans = [(i, j) for i in tokens[1:] for j in tokens[1:] if i <= j < i + max_answer_tokens]
        spans.sort(key=lambda span: (-starts[span[0]] * ends[span[1]], span))
        found += [(s, i, j, starts[i] * ends[j]) for i, j in spans[:top_k]]
    return found, no_answer


def as_tuples(columns):
    return list(zip(*(column.tolist() for column in columns), strict=True))


def assert_same(candidates, expected):
    """Check for equal spans in equal order, and equal scores up to float64 rounding."""
    assert as_tuples(candidates[:3]) == [(s, i, j) for s, i, j, _ in expected]
    np.testing.assert_allclose(candidates.score, [score for *_, score in expected], rtol=1e-12)


@pytest.mark.parametrize("chunk_size", [1, 100, answers._MAX_CHUNK_SIZE])
@given(
    windows=some_windows,
    top_k=st.integers(1, 60),
    max_answer_tokens=st.integers(1, 12),
    seed=st.integers(0, 2**32 - 1),
    ties=st.booleans(),
)
@example(windows=[(1, 0), (2, 5)], top_k=3, max_answer_tokens=10**9, seed=0, ties=False)
def test_simple_candidates_are_the_best_of_all_spans(windows, top_k, max_answer_tokens, seed, ties, chunk_size):
    allowed, cu_seqlens = build_windows(windows)
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, 3, (2, len(allowed))).astype(np.float32)
    if ties:  # probabilities before normalization are exactly 0 or 1
        logits = generator.choice(np.float32([0, -1000]), (2, len(allowed)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(answers, "_MAX_CHUNK_SIZE", chunk_size)
        candidates, no_answer = simple_candidates(
            *logits, cu_seqlens, class_tokens_of(allowed, cu_seqlens), allowed, top_k, max_answer_tokens
        )
    expected, expected_no_answer = score_all_spans(
        *logits, cu_seqlens, class_tokens_of(allowed, cu_seqlens), allowed, top_k, max_answer_tokens
    )
    assert_same(candidates, expected)
    np.testing.assert_allclose(no_answer, expected_no_answer, rtol=1e-12)


def test_candidates_of_a_window_do_not_depend_on_other_windows():
    windows = [(3, 40), (0, 7), (5, 200), (1, 1)]
    allowed, cu_seqlens = build_windows(windows)
    logits = np.random.default_rng(3).normal(0, 3, (2, len(allowed))).astype(np.float32)
    of_batch, no_answer = simple_candidates(*logits, cu_seqlens, class_tokens_of(allowed, cu_seqlens), allowed, 20, 30)
    for s, (begin, stop) in enumerate(pairwise(cu_seqlens)):
        own = np.array([0, stop - begin], np.int32)
        alone, alone_no_answer = simple_candidates(
            *logits[:, begin:stop], own, class_tokens_of(allowed[begin:stop], own), allowed[begin:stop], 20, 30
        )
        found = of_batch.take(np.flatnonzero(of_batch.sequence == s))
        assert (found.start == alone.start + begin).all()
        assert (found.end == alone.end + begin).all()
        assert (found.score == alone.score).all()  # bit-identical
        assert no_answer[s] == alone_no_answer[0]


def test_high_scores_of_the_next_window_do_not_remove_candidates():
    allowed, cu_seqlens = build_windows([(0, 4), (0, 4)])
    logits = np.zeros((2, len(allowed)), np.float32)
    logits[1, 9] = 20  # the first context token of the second window
    candidates, _ = simple_candidates(*logits, cu_seqlens, class_tokens_of(allowed, cu_seqlens), allowed, 2, 12)
    assert as_tuples(candidates[:3])[:2] == [(0, 2, 2), (0, 2, 3)]


def test_long_window_does_not_need_memory_for_all_spans():
    num_tokens = 200_000  # all spans would take 320 GB
    allowed, cu_seqlens = build_windows([(1, num_tokens)])
    logits = np.zeros((2, len(allowed)), np.float32)
    logits[0, 150_000], logits[1, 150_007] = 20, 20
    candidates, _ = simple_candidates(*logits, cu_seqlens, class_tokens_of(allowed, cu_seqlens), allowed, 1, 30)
    assert (candidates.start.tolist(), candidates.end.tolist()) == ([150_000], [150_007])


@given(
    windows=some_windows,
    num_starts=st.integers(1, 3),
    num_ends=st.integers(1, 3),
    top_k=st.integers(1, 10),
    max_answer_tokens=st.integers(1, 6),
    seed=st.integers(0, 2**32 - 1),
)
def test_beam_candidates_are_the_best_of_the_beams(windows, num_starts, num_ends, top_k, max_answer_tokens, seed):
    allowed, cu_seqlens = build_windows(windows)
    generator = np.random.default_rng(seed)
    num_sequences, lengths = len(windows), np.diff(cu_seqlens)
    probs = np.float32([0.125, 0.25, 0.3])  # few values, so that spans tie
    start_probs = generator.choice(probs, (num_sequences, num_starts))
    end_probs = generator.choice(probs, (num_sequences, num_ends, num_starts))

    def beams(k):  # different tokens of the window, then -1
        return np.array([np.resize([*generator.permutation(n), *[-1] * k], k) for n in lengths]).reshape(-1, k)

    start_index = beams(num_starts)
    end_index = np.stack([beams(num_ends) for _ in range(num_starts)], axis=2)
    found = []
    for s in range(num_sequences):
        spans = []
        for p in range(num_starts):
            for e in range(num_ends):
                start, end = start_index[s, p], end_index[s, e, p]
                if 0 <= start <= end < start + max_answer_tokens and allowed[cu_seqlens[s] + [start, end]].all():
                    score = float(start_probs[s, p]) * float(end_probs[s, e, p])
                    spans.append((s, cu_seqlens[s] + start, cu_seqlens[s] + end, score))
        found += sorted(spans, key=lambda span: (-span[3], span[1], span[2]))[:top_k]
    flat = (beam.reshape(num_sequences, num_ends * num_starts) for beam in (end_probs, end_index))
    candidates = beam_candidates(start_probs, start_index, *flat, allowed, cu_seqlens, top_k, max_answer_tokens)
    assert_same(candidates, found)


@pytest.mark.parametrize(("top_k", "max_answer_tokens"), [(0, 5), (5, 0)])
def test_limits_below_one_raise_an_error(top_k, max_answer_tokens):
    allowed, cu_seqlens = build_windows([(1, 3)])
    logits = np.zeros((2, len(allowed)), np.float32)
    with pytest.raises(ValueError, match="got 0, expected at least 1"):
        simple_candidates(*logits, cu_seqlens, class_tokens_of(allowed, cu_seqlens), allowed, top_k, max_answer_tokens)


def test_top_k_above_the_number_of_spans_returns_all_spans():
    """The result is the same next to a longer window, also if every token is allowed."""
    logits = np.array([1, 0, 1, *[0.5] * 9], np.float32)
    allowed = np.ones(12, np.bool_)
    alone, _ = simple_candidates(logits[:3], logits[:3], np.array([0, 3], np.int32), np.array([0]), allowed[:3], 7, 5)
    of_batch, _ = simple_candidates(logits, logits, np.array([0, 3, 12], np.int32), np.array([0, 3]), allowed, 7, 5)
    assert len(alone.start) == 6
    assert as_tuples(alone) == [row for row in as_tuples(of_batch) if row[0] == 0]


def test_equal_scores_do_not_need_memory_for_all_spans():
    """A head of zeros makes all spans tie; the first and shortest ones are found without scoring all of them."""
    lengths = np.full(200, 512)
    cu_seqlens = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    zeros, allowed = np.zeros(cu_seqlens[-1], np.float32), np.ones(cu_seqlens[-1], np.bool_)
    tracemalloc.start()
    found, _ = simple_candidates(zeros, zeros, cu_seqlens, cu_seqlens[:-1], allowed, 2, 512)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200e6  # scores of all spans would take gigabytes
    assert (found.start - cu_seqlens[found.sequence]).tolist() == [0, 0] * 200
    assert (found.end - found.start).tolist() == [0, 1] * 200
