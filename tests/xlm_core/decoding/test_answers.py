"""From scores of tokens to answers: against all spans, weighed one by one."""

import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from xlm_core.decoding import (
    Candidates,
    answers,
    beam_candidates,
    find_class_tokens,
    merge_answers,
    no_answer_scores,
    simple_candidates,
)

# question and context of each window in tokens: `<s> Q </s> C </s>`
some_windows = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9)), max_size=5)


def lay_out(windows):
    """The borders of the windows and the tokens of their contexts."""
    allowed, borders = [], [0]
    for question, context in windows:
        allowed += [False] * (question + 2) + [True] * context + [False]
        borders.append(len(allowed))
    return np.array(allowed, np.bool_), np.array(borders, np.int32)


def classes_of(allowed, cu_seqlens):
    """The class token of each window, whichever: here the last before its context."""
    return np.array([b + max(int(allowed[b:e].argmax()) - 1, 0) for b, e in pairwise(cu_seqlens)], np.int64)


def softmax(logits):
    odds = np.exp(logits.astype(np.float64) - logits.max())
    return odds / odds.sum()


def weigh_all(start_logits, end_logits, cu_seqlens, classes, allowed, top_k, max_answer_tokens):
    """Weigh every span of every window."""
    found, no_answer = [], []
    for s, (begin, stop) in enumerate(pairwise(cu_seqlens)):
        tokens = [classes[s], *(t for t in range(begin, stop) if allowed[t])]
        starts = dict(zip(tokens, softmax(start_logits[tokens]), strict=True))
        ends = dict(zip(tokens, softmax(end_logits[tokens]), strict=True))
        no_answer.append(starts[classes[s]] * ends[classes[s]])
        spans = [(i, j) for i in tokens[1:] for j in tokens[1:] if i <= j < i + max_answer_tokens]
        spans.sort(key=lambda span: (-starts[span[0]] * ends[span[1]], span))
        found += [(s, i, j, starts[i] * ends[j]) for i, j in spans[:top_k]]
    return found, no_answer


def as_tuples(columns):
    return list(zip(*(column.tolist() for column in columns), strict=True))


def assert_same(candidates, expected):
    """Equal spans in equal order, and scores to the rounding of float64."""
    assert as_tuples(candidates[:3]) == [(s, i, j) for s, i, j, _ in expected]
    np.testing.assert_allclose(candidates.score, [score for *_, score in expected], rtol=1e-12)


@pytest.mark.parametrize("at_once", [1, 100, answers._WEIGHED_AT_ONCE])
@given(
    windows=some_windows,
    top_k=st.integers(1, 60),
    max_answer_tokens=st.integers(1, 12),
    seed=st.integers(0, 2**32 - 1),
    ties=st.booleans(),
)
@example(windows=[(1, 0), (2, 5)], top_k=3, max_answer_tokens=10**9, seed=0, ties=False)
def test_the_simple_heads_candidates_are_the_best_of_all_spans(windows, top_k, max_answer_tokens, seed, ties, at_once):
    allowed, cu_seqlens = lay_out(windows)
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, 3, (2, len(allowed))).astype(np.float32)
    if ties:  # odds of exactly 0 or 1
        logits = generator.choice(np.float32([0, -1000]), (2, len(allowed)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(answers, "_WEIGHED_AT_ONCE", at_once)
        candidates, no_answer = simple_candidates(
            *logits, cu_seqlens, classes_of(allowed, cu_seqlens), allowed, top_k, max_answer_tokens
        )
    expected, expected_no_answer = weigh_all(
        *logits, cu_seqlens, classes_of(allowed, cu_seqlens), allowed, top_k, max_answer_tokens
    )
    assert_same(candidates, expected)
    np.testing.assert_allclose(no_answer, expected_no_answer, rtol=1e-12)


def test_a_windows_answers_do_not_depend_on_its_neighbours():
    windows = [(3, 40), (0, 7), (5, 200), (1, 1)]
    allowed, cu_seqlens = lay_out(windows)
    logits = np.random.default_rng(3).normal(0, 3, (2, len(allowed))).astype(np.float32)
    together, no_answer = simple_candidates(*logits, cu_seqlens, classes_of(allowed, cu_seqlens), allowed, 20, 30)
    for s, (begin, stop) in enumerate(pairwise(cu_seqlens)):
        own = np.array([0, stop - begin], np.int32)
        alone, alone_no_answer = simple_candidates(
            *logits[:, begin:stop], own, classes_of(allowed[begin:stop], own), allowed[begin:stop], 20, 30
        )
        mine = together.take(np.flatnonzero(together.sequence == s))
        assert (mine.start == alone.start + begin).all()
        assert (mine.end == alone.end + begin).all()
        assert (mine.score == alone.score).all()  # to the last bit
        assert no_answer[s] == alone_no_answer[0]


def test_a_window_sure_of_its_answer_takes_none_from_an_unsure_one_before_it():
    allowed, cu_seqlens = lay_out([(0, 4), (0, 4)])
    logits = np.zeros((2, len(allowed)), np.float32)
    logits[1, 9] = 20  # the second's first token of the context
    candidates, _ = simple_candidates(*logits, cu_seqlens, classes_of(allowed, cu_seqlens), allowed, 2, 12)
    assert as_tuples(candidates[:3])[:2] == [(0, 2, 2), (0, 2, 3)]


def test_a_long_window_takes_memory_for_few_of_its_spans():
    num_tokens = 200_000  # all spans at once would be 320 GB
    allowed, cu_seqlens = lay_out([(1, num_tokens)])
    logits = np.zeros((2, len(allowed)), np.float32)
    logits[0, 150_000], logits[1, 150_007] = 20, 20
    candidates, _ = simple_candidates(*logits, cu_seqlens, classes_of(allowed, cu_seqlens), allowed, 1, 30)
    assert (candidates.start.tolist(), candidates.end.tolist()) == ([150_000], [150_007])


@given(
    windows=some_windows,
    num_starts=st.integers(1, 3),
    num_ends=st.integers(1, 3),
    top_k=st.integers(1, 10),
    max_answer_tokens=st.integers(1, 6),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_beam_heads_candidates_are_the_best_of_its_beams(
    windows, num_starts, num_ends, top_k, max_answer_tokens, seed
):
    allowed, cu_seqlens = lay_out(windows)
    generator = np.random.default_rng(seed)
    num_sequences, size = len(windows), np.diff(cu_seqlens)
    probs = np.float32([0.125, 0.25, 0.3])  # few, so that spans tie
    start_probs = generator.choice(probs, (num_sequences, num_starts))
    end_probs = generator.choice(probs, (num_sequences, num_ends, num_starts))

    def beams(k):  # different tokens of the window, and -1 when they run out
        return np.array([np.resize([*generator.permutation(n), *[-1] * k], k) for n in size]).reshape(-1, k)

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
def test_room_for_no_answer_is_refused(top_k, max_answer_tokens):
    allowed, cu_seqlens = lay_out([(1, 3)])
    logits = np.zeros((2, len(allowed)), np.float32)
    with pytest.raises(ValueError, match="expected at least 1, got 0"):
        simple_candidates(*logits, cu_seqlens, classes_of(allowed, cu_seqlens), allowed, top_k, max_answer_tokens)


def candidates_of(*found):
    sequence, start, end, score = zip(*found, strict=True)
    return Candidates(np.array(sequence), np.array(start), np.array(end), np.array(score, np.float64))


# two windows of row 0, tokens 0 to 4 and 5 to 9, that share characters 4 to 8; one of row 1, tokens 10 to 12
OFFSETS = np.array(
    [[-1, -1], [0, 2], [2, 4], [4, 6], [6, 8], [-1, -1], [4, 6], [6, 8], [8, 10], [9, 12], [-1, -1], [0, 3], [3, 5]]
)
ROW_IDS = np.array([0, 0, 1], np.int32)


def test_answers_of_a_rows_windows_are_merged():
    candidates = candidates_of(
        (0, 3, 4, 0.5), (0, 1, 1, 0.4), (1, 6, 7, 0.7), (1, 8, 9, 0.4), (2, 11, 12, 0.1), (2, 11, 11, 0.1)
    )  # fmt: skip
    merged = merge_answers(candidates, ROW_IDS, OFFSETS, 10)
    assert as_tuples(merged) == [
        (0, 4, 8, 0.7),  # of both windows, once, with the better score
        (0, 0, 2, 0.4),  # of two alike the earlier one first
        (0, 8, 12, 0.4),
        (1, 0, 3, 0.1),  # then the shorter one
        (1, 0, 5, 0.1),
    ]
    best = merge_answers(candidates, ROW_IDS, OFFSETS, 1)
    assert as_tuples(best) == [(0, 4, 8, 0.7), (1, 0, 3, 0.1)]


def test_tokens_that_stand_for_no_character_are_in_no_answer():
    #                   an inserted space, a word, a token between words, a word, an inserted space
    offsets = np.array([[-1, -1], [3, 3], [4, 7], [8, 8], [9, 11], [11, 11], [-1, -1]])
    candidates = candidates_of(
        (0, 1, 5, 0.9), (0, 1, 1, 0.8), (0, 3, 3, 0.7), (0, 2, 3, 0.6), (0, 1, 2, 0.5), (0, 4, 5, 0.4)
    )  # fmt: skip
    merged = merge_answers(candidates, np.zeros(1, np.int32), offsets, 10)
    assert as_tuples(merged) == [(0, 4, 11, 0.9), (0, 4, 7, 0.6), (0, 9, 11, 0.4)]


@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.integers(0, 7), st.integers(0, 7), st.sampled_from([0.1, 0.2, 0.3])),
        min_size=1,
    ),
    st.integers(1, 5),
)
def test_merging_is_taking_the_best_of_each_span(drawn, top_k):
    # six windows of three rows, each of eight tokens of three characters; a row's second begins with its first's fifth
    number = np.add.outer([0, 4, 0, 4, 0, 4], np.arange(8)).reshape(-1)
    offsets = np.stack([3 * number, 3 * number + 3], axis=1)
    row_ids = np.array([0, 0, 1, 1, 2, 2], np.int32)
    drawn = [(s, 8 * s + min(i, j), 8 * s + max(i, j), score) for s, i, j, score in drawn]
    best: dict[tuple[int, int, int], float] = {}
    for s, i, j, score in drawn:
        span = (int(row_ids[s]), int(offsets[i, 0]), int(offsets[j, 1]))
        best[span] = max(score, best.get(span, 0))
    expected = []
    for row in range(3):
        of_row = sorted((-score, start, end) for (r, start, end), score in best.items() if r == row)
        expected += [(row, start, end, -score) for score, start, end in of_row[:top_k]]
    assert as_tuples(merge_answers(candidates_of(*drawn), row_ids, offsets, top_k)) == expected
    backwards = merge_answers(candidates_of(*drawn[::-1]), row_ids, offsets, top_k)
    assert as_tuples(backwards) == expected


def test_a_row_holds_no_answer_as_surely_as_its_least_sure_window():
    score_N = no_answer_scores(np.array([0.5, 0.2, 0.9]), ROW_IDS, 3)
    assert score_N.tolist() == [0.2, 0.9, 1.0]


def test_more_answers_wanted_than_a_window_has_spans():
    """What a window gives is its own, also where all its tokens may be answers and a longer one stands beside it."""
    logits = np.array([1, 0, 1, *[0.5] * 9], np.float32)
    allowed = np.ones(12, np.bool_)
    alone, _ = simple_candidates(logits[:3], logits[:3], np.array([0, 3], np.int32), np.array([0]), allowed[:3], 7, 5)
    beside, _ = simple_candidates(logits, logits, np.array([0, 3, 12], np.int32), np.array([0, 3]), allowed, 7, 5)
    assert len(alone.start) == 6
    assert as_tuples(alone) == [row for row in as_tuples(beside) if row[0] == 0]


def test_scores_all_alike_cost_no_more_than_others():
    """A head of zeros: every span ties, and the earliest and shortest are taken without weighing them all."""
    lengths = np.full(200, 512)
    cu_seqlens = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    flat, allowed = np.zeros(cu_seqlens[-1], np.float32), np.ones(cu_seqlens[-1], np.bool_)
    tracemalloc.start()
    found, _ = simple_candidates(flat, flat, cu_seqlens, cu_seqlens[:-1], allowed, 2, 512)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200e6  # every span of every window would be gigabytes
    assert (found.start - cu_seqlens[found.sequence]).tolist() == [0, 0] * 200
    assert (found.end - found.start).tolist() == [0, 1] * 200


def test_the_class_token_is_the_first_of_its_kind():
    ids, cu_seqlens = np.array([0, 7, 1, 8, 1, 0, 1, 9, 1], np.int32), np.array([0, 5, 9], np.int32)
    assert find_class_tokens(ids, cu_seqlens, 1).tolist() == [2, 6]
    assert find_class_tokens(ids, cu_seqlens, 0).tolist() == [0, 5]
    with pytest.raises(ValueError, match="not every sequence has such a token"):
        find_class_tokens(ids, cu_seqlens, 9)
