"""Which examples a step has."""

from itertools import chain

import numpy as np
import pytest

from tests.xlm_core.training.small_training import make_examples, make_sequences
from xlm_core.training import Examples, RowSampler, StreamSampler, group_by_lang
from xlm_core.training.samplers import split_step


def draw_steps(sampler, num_steps, max_tokens, seed=0):
    """Yield the examples of each step."""
    drawn = np.zeros(sampler.num_groups, np.int64)
    for step in range(num_steps):
        examples, drawn = sampler.draw(np.random.default_rng((seed, step)), drawn, max_tokens)
        yield examples


def numbered_rows(lengths, langs=None):
    """Make rows whose targets are their numbers."""
    return Examples(make_sequences(lengths, langs), np.arange(len(lengths)))


def rows_of(steps):
    return list(chain.from_iterable(step.targets.tolist() for step in steps))


def test_every_row_is_drawn_once_in_each_epoch_in_another_order():
    examples = numbered_rows(np.full(50, 10))
    rows = rows_of(draw_steps(RowSampler(examples, group_by_lang(examples), None, 0), 15, 100))
    assert len(rows) == 150
    epochs = rows[:50], rows[50:100], rows[100:]
    assert all(sorted(epoch) == list(range(50)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    assert epochs[0] != list(range(50))
    other_seed = rows_of(draw_steps(RowSampler(examples, group_by_lang(examples), None, 1), 5, 100))
    assert other_seed != epochs[0]


def test_steps_have_at_most_the_given_number_of_tokens_but_never_no_row():
    lengths = np.array([5, 30, 80, 7, 120, 9, 3, 40])
    examples = numbered_rows(lengths)
    sampler = RowSampler(examples, group_by_lang(examples), None, 0)
    assert sampler.epoch_tokens == lengths.sum()
    steps = list(draw_steps(sampler, 40, 60))
    for step in steps:
        assert len(step) == 1 or step.row_lengths.sum() <= 60
        np.testing.assert_array_equal(step.row_lengths, lengths[step.targets])
    assert {80, 120} <= set(lengths[rows_of(step for step in steps if len(step) == 1)])
    assert set(rows_of(steps)) == set(range(8))


@pytest.mark.parametrize("alpha", [1.0, 0.5, 0.0])
def test_languages_are_drawn_by_the_multinomial_of_the_paper(alpha):
    langs = np.repeat([0, 1, 2], [160, 30, 10])
    examples = numbered_rows(np.full(200, 10), langs)
    shares = np.array([160, 30, 10]) ** alpha
    shares = shares / shares.sum()
    for sampler in (
        RowSampler(examples, group_by_lang(examples), alpha, 0),
        StreamSampler(examples, group_by_lang(examples), alpha, 0, 10),
    ):
        steps = list(draw_steps(sampler, 10, 4_000))
        drawn = np.concatenate([step.sequences.langs for step in steps])
        assert len(drawn) >= 3_900
        found = np.bincount(drawn) / len(drawn)
        np.testing.assert_allclose(found, shares, atol=0.025)  # three standard deviations


def test_rows_of_each_language_are_drawn_equally_often():
    examples = numbered_rows(np.full(40, 10), np.repeat([0, 1], [30, 10]))
    rows = rows_of(draw_steps(RowSampler(examples, group_by_lang(examples), 0.0, 0), 10, 600))
    counts = np.bincount(rows, minlength=40)
    assert np.ptp(counts[:30]) <= 1
    assert np.ptp(counts[30:]) <= 1
    assert counts[30:].min() > counts[:30].max()


@pytest.mark.parametrize("stream_tokens", [7, 64, 1_000])
def test_streams_are_consecutive_text_of_one_language_across_rows_and_epochs(stream_tokens):
    """Each row is of words of its own, `first` to `first + size`, and ends with the token 1."""
    rng = np.random.default_rng(0)
    sizes, langs = rng.integers(1, 12, 30), rng.integers(0, 3, 30)
    rows = [np.arange(100 * (i + 1), 100 * (i + 1) + size) for i, size in enumerate(sizes)]
    sequences = make_sequences(sizes + 2, langs)
    ids = np.concatenate([[0, *row, 1] for row in rows]).astype(np.int32)
    examples = Examples(type(sequences)(ids, *list(vars(sequences).values())[1:7]))
    sampler = StreamSampler(examples, group_by_lang(examples), 0.5, 0, stream_tokens)
    assert sampler.epoch_tokens == (sizes + 1).sum()
    texts = {lang: [] for lang in range(3)}
    for step in draw_steps(sampler, 40, 3 * stream_tokens):
        assert step.sequences.lengths.tolist() == [stream_tokens] * 3
        for text, lang in zip(step.sequences.input_ids.reshape(3, -1).tolist(), step.sequences.langs, strict=True):
            texts[int(lang)] += text
    for lang, text in texts.items():
        expected = [i for i in range(30) if langs[i] == lang]
        epoch_tokens = sum(sizes[i] + 1 for i in expected)
        orders = []
        for start in range(0, len(text) - epoch_tokens, epoch_tokens):
            *found, rest = " ".join(map(str, text[start : start + epoch_tokens])).replace(" 1 ", " 1|").split("|")
            found = [[int(word) for word in row.split()] for row in [*found, rest]]
            order = [row[0] // 100 - 1 for row in found]
            assert sorted(order) == expected  # every row once
            assert [row[:-1] for row in found] == [rows[i].tolist() for i in order]
            orders.append(order)
        assert len(orders) >= 2
        assert orders[0] != orders[1]


@pytest.mark.parametrize("kind", ["rows", "streams"])
def test_draw_depends_only_on_its_arguments(kind):
    """A sampler that has drawn other steps before draws the same."""
    examples = make_examples("masked", num_rows=40)

    def sampler():
        groups = group_by_lang(examples)
        return RowSampler(examples, groups, 0.5, 3) if kind == "rows" else StreamSampler(examples, groups, 0.5, 3, 20)

    used = sampler()
    history = [np.zeros(used.num_groups, np.int64)]
    steps = []
    for number in range(12):
        step, drawn = used.draw(np.random.default_rng(number), history[-1], 200)
        steps.append(step)
        history.append(drawn)
    for number in (11, 3, 7):
        for other in (used, sampler()):
            before = history[number].copy()
            step, drawn = other.draw(np.random.default_rng(number), history[number], 200)
            np.testing.assert_array_equal(step.sequences.input_ids, steps[number].sequences.input_ids)
            np.testing.assert_array_equal(drawn, history[number + 1])
            np.testing.assert_array_equal(history[number], before)


def test_one_row_and_groups_of_one_row():
    one = numbered_rows([6])
    assert rows_of(draw_steps(RowSampler(one, group_by_lang(one), None, 0), 3, 20)) == [0] * 9
    (stream,) = draw_steps(StreamSampler(one, group_by_lang(one), 1.0, 0, 12), 1, 12)
    text = one.sequences.input_ids[1:]
    np.testing.assert_array_equal(stream.sequences.input_ids, np.tile(text, 3)[:12])
    three = numbered_rows([6, 6, 6], [0, 1, 2])
    assert set(rows_of(draw_steps(RowSampler(three, group_by_lang(three), 0.5, 0), 4, 60))) == {0, 1, 2}


def test_translations_are_grouped_by_both_languages():
    pairs = Examples(make_sequences([5] * 8, [0, 1, 1, 0, 0, 1, 0, 2], per_row=2))
    assert group_by_lang(pairs).tolist() == [0, 2, 0, 1]


@pytest.mark.parametrize("num_workers", [1, 2, 3])
@pytest.mark.parametrize("sort", [True, False])
def test_step_is_split_into_batches_of_about_equal_size(num_workers, sort):
    lengths = np.random.default_rng(0).integers(3, 30, 200)
    examples = numbered_rows(lengths)
    split = split_step(examples, 400, num_workers, sort=sort)
    assert sorted(np.concatenate(split)) == list(range(200))
    assert len(split) % num_workers == 0
    sizes = [lengths[rows].sum() for rows in split]
    assert max(sizes) <= 400 + 30
    assert max(sizes) - min(sizes) <= 60
    if not sort:
        np.testing.assert_array_equal(np.concatenate(split), np.arange(200))


def test_long_rows_and_few_rows_are_split():
    assert [rows.tolist() for rows in split_step(numbered_rows([500, 4, 4]), 100, 1, sort=True)] == [[0], [1, 2]]
    assert [rows.tolist() for rows in split_step(numbered_rows([5]), 100, 4, sort=True)] == [[0]]
    assert len(split_step(numbered_rows([5, 5]), 100, 4, sort=True)) == 2
