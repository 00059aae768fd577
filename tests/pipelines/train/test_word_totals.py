import pyarrow as pa

from pipelines.train.vocabulary.count_words import COUNTS
from pipelines.train.vocabulary.word_totals import WordTotals


def batch(lang: str | None, **words: int) -> pa.RecordBatch:
    rows = [{"lang": lang, "word": word, "count": count} for word, count in words.items()]
    return pa.RecordBatch.from_pylist(rows, COUNTS)


def test_counts_of_a_language_are_added_up():
    totals = WordTotals()
    for counts in (batch("en", low=5, new=1), batch("de", low=2), batch("en", low=1), batch(None, x=1), batch("en")):
        totals.add(counts)
    assert totals.langs == {"en": {"low": 6, "new": 1}, "de": {"low": 2}, None: {"x": 1}}
    assert totals.num_forgotten == 0


def test_rare_words_of_the_largest_language_are_forgotten_beyond_the_limit():
    totals = WordTotals(max_words=5)
    totals.add(batch("sw", a=1, b=1))
    totals.add(batch("en", a=9, b=7, c=1, d=1))
    assert totals.langs == {"sw": {"a": 1, "b": 1}, "en": {"a": 9, "b": 7}}
    assert totals.num_forgotten == 2
    totals.add(batch("en", c=2))
    assert totals.langs["en"] == {"a": 9, "b": 7, "c": 2}


def test_memory_is_bounded_if_all_words_are_different():
    totals = WordTotals(max_words=10)
    for i in range(100):
        totals.add(batch("en", **{f"w{i}x{k}": 1 for k in range(3)}))
        assert sum(map(len, totals.langs.values())) <= 10
