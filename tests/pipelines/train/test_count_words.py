from typing import Any

import pyarrow as pa

from pipelines.job import FixedLang, InputSettings, TokenizerSettings
from pipelines.rows import ROW, Shard, ShardStats
from pipelines.train.vocabulary.count_words import COUNTS, CountWords


def count(rows: list[dict[str, Any]], *, lang: Any = "lang", text: Any = "text", **tokenizer: Any) -> Shard:
    batch = pa.RecordBatch.from_pylist([row | {ROW: i} for i, row in enumerate(rows)])
    spec = InputSettings(path="x", text=text, lang=lang)
    worker = CountWords(spec, TokenizerSettings(**tokenizer), lowercase=True)
    return Shard.from_table(worker(Shard("s", batch, ShardStats((), rows_in=len(rows))).to_table()))


def words(shard: Shard) -> dict[tuple[str, str], int]:
    return {(row["lang"], row["word"]): row["count"] for row in shard.rows.to_pylist()}


def test_words_are_counted_by_language_under_one_code():
    rows = [{"text": "Low low", "lang": "en"}, {"text": "low", "lang": "en-US"}, {"text": "low", "lang": "de"}]
    assert words(count(rows)) == {("en", "low"): 3, ("de", "low"): 1}


def test_rows_that_a_job_would_reject_are_not_counted():
    rows = [
        {"text": "low", "lang": "en"},
        {"text": None, "lang": "en"},
        {"text": " ", "lang": "en"},
        {"text": "x" * 11, "lang": "en"},
        {"text": "low", "lang": None},
        {"text": "low", "lang": "not a code"},
    ]
    shard = count(rows, max_chars=10)
    assert words(shard) == {("en", "low"): 1}
    assert shard.rejected.column("reason").to_pylist() == [
        "null_text",
        "empty_text",
        "too_many_chars",
        "null_lang",
        "unknown_lang",
    ]


def test_all_text_columns_are_counted():
    rows = [{"a": "one", "b": "two three"}]
    assert words(count(rows, lang=FixedLang(fixed="en"), text=["a", "b"])) == {
        ("en", "one"): 1,
        ("en", "two"): 1,
        ("en", "three"): 1,
    }


def test_premise_of_choices_is_counted_once_and_choices_may_be_absent():
    rows = [{"p": "one", "c1": "two", "c2": "two", "c3": None}]
    assert words(count(rows, lang=FixedLang(fixed="en"), text=["p", "c1", "c2", "c3"])) == {
        ("en", "one"): 1,
        ("en", "two"): 2,
    }


def test_lists_of_words_and_segmented_texts():
    assert words(count([{"text": ["Don't", None], "lang": "en"}])) == {("en", "don"): 1, ("en", "'t"): 1}
    assert words(count([{"text": "Don't", "lang": "en"}], bypass_tokenizer=True)) == {("en", "Don't"): 1}


def test_an_error_becomes_the_failure_of_the_shard():
    shard = count([{"text": "東京", "lang": "ja"}])
    assert shard.rows.schema == COUNTS
    assert shard.failure is not None
    assert "KyTea model" in shard.failure.message
    assert shard.failure.kind == "fatal"


def test_a_shard_without_rows_has_no_words():
    batch = pa.RecordBatch.from_pylist([], pa.schema([("text", pa.string()), ("lang", pa.string()), (ROW, pa.int64())]))
    worker = CountWords(InputSettings(path="x", text="text", lang="lang"), TokenizerSettings(), lowercase=True)
    assert len(worker.count(Shard("s", batch, ShardStats(()))).rows) == 0
