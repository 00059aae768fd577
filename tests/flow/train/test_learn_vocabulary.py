import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml
from pyarrow import parquet

from jobs import cli
from pipelines.errors import ClusterError, FatalError
from pipelines.job import TokenizerSettings
from pipelines.rows import Shard
from pipelines.train import learn_vocabulary
from pipelines.train.vocabulary.count_words import CountWords
from pipelines.training_job import TrainingJob, VocabularySettings
from tests.flow.train.in_process import train_here
from xlm_core import XLM, XLMTokenizer
from xlm_core.text import Segmenters
from xlm_core.vocabulary import WordCounter, learn_tokenizer

TOKENIZER = TokenizerSettings(ja="fugashi")

pytestmark = pytest.mark.usefixtures("cluster")


def make_settings(path: Path, vocab_size: int = 2_500, lang: Any = "lang", **options: Any) -> VocabularySettings:
    spec = {"path": str(path), "text": "text", "lang": lang}
    return VocabularySettings.model_validate({"input": spec, "vocab_size": vocab_size, **options})


@pytest.mark.long
def test_vocabulary_is_that_of_the_texts_however_they_are_stored(corpus: list[dict[str, str]], tmp_path: Path):
    counter = WordCounter(Segmenters(ja="fugashi"))
    words = counter.count([row["text"] for row in corpus], [row["lang"] for row in corpus])
    expected = learn_tokenizer(words, 2_500)

    parquet.write_table(pa.Table.from_pylist(corpus), tmp_path / "one.parquet")
    messages: list[str] = []
    assert learn_vocabulary(make_settings(tmp_path / "one.parquet"), TOKENIZER, notify=messages.append) == expected
    num_words = sum(map(len, words.values()))
    assert messages == [f"vocabulary: 2,500 tokens from {num_words:,} different words in 18 languages"]

    (tmp_path / "many").mkdir()
    backwards = corpus[::-1]
    for i, first in enumerate(range(0, len(corpus), 100)):
        rows = [*backwards[first : first + 100], {"id": "x", "lang": "en", "text": "", "topic": ""}]
        parquet.write_table(pa.Table.from_pylist(rows), tmp_path / f"many/{i}.parquet", row_group_size=30)
    messages.clear()
    assert learn_vocabulary(make_settings(tmp_path / "many"), TOKENIZER, notify=messages.append) == expected
    assert messages[0] == "vocabulary: 4 rows not counted: 4 empty_text"


@pytest.mark.long
@pytest.mark.parametrize(
    ("rows", "options", "problem"),
    [
        ([], {}, r".*texts\.parquet: no rows; correct input\.path"),
        ([{"text": "a b c", "lang": "en"}], {}, "no character occurs 2 times in the texts; use more texts"),
        ([{"text": "low lower", "lang": "xx yy"}], {}, r"input: no row can be used \(1 unknown_lang\); correct input"),
        ([{"text": "low low", "lang": "en"}], {"vocab_size": 20}, "vocab_size: got 20, .* set vocab_size"),
        ([{"text": "東京", "lang": "ja"}], {}, "Japanese text needs a KyTea model"),
        ([{"text": "low low", "lang": "en"}], {"lang": {"fixed": "x y"}}, "input.lang: 'x y' is not a language code"),
    ],
)
def test_invalid_input_has_one_clear_line(rows: Any, options: dict[str, Any], problem: str, tmp_path: Path):
    schema = pa.schema([("text", pa.string()), ("lang", pa.string())])
    parquet.write_table(pa.Table.from_pylist(rows, schema), tmp_path / "texts.parquet")
    with pytest.raises(FatalError, match=f"^{problem}") as raised:
        learn_vocabulary(make_settings(tmp_path / "texts.parquet", **options))
    assert "\n" not in str(raised.value)


@pytest.mark.long
def test_damaged_file_is_named(tmp_path: Path):
    file = tmp_path / "texts.parquet"
    parquet.write_table(pa.table({"text": ["low"] * 9_999, "lang": ["en"] * 9_999}), file, compression="none")
    content = bytearray(file.read_bytes())
    content[4:60] = bytes(56)
    file.write_bytes(content)
    with pytest.raises(FatalError, match=r"texts\.parquet: row group 0"):
        learn_vocabulary(make_settings(file))


class DyingCounter(CountWords):
    """Ends its process at a text."""

    def count(self, shard: Shard) -> Shard:
        if "fatal" in shard.rows.column("text").to_pylist():
            os._exit(1)
        return super().count(shard)


@pytest.mark.long
def test_words_of_a_process_that_dies_are_not_missing_silently(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("pipelines.train.vocabulary.count_words.CountWords", DyingCounter)
    monkeypatch.setattr("pipelines.train.vocabulary.learn.ROWS_PER_SHARD", 2)
    parquet.write_table(pa.table({"text": ["low", "low", "fatal", "low"], "lang": ["en"] * 4}), tmp_path / "t.parquet")
    with pytest.raises(ClusterError, match=r"^1 of 2 shards were lost, because the process that counted"):
        learn_vocabulary(make_settings(tmp_path / "t.parquet"))


@pytest.mark.long
def test_command_writes_the_tokenizer_of_a_new_model(corpus: list[dict[str, str]], tmp_path: Path):
    parquet.write_table(pa.Table.from_pylist(corpus), tmp_path / "texts.parquet")
    job = {
        "vocabulary": {"input": {"path": "texts.parquet", "text": "text", "lang": "lang"}, "vocab_size": 2_500},
        "tokenizer": {"ja": "fugashi"},
        "output": {"path": "out"},
    }
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(job), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        assert cli.main(["train", "job.yaml"]) == 0
        assert cli.main(["train", "job.yaml"]) == 0  # does nothing
        assert cli.main(["train", "job.yaml", "--set", "vocabulary.alpha=1.0"]) == 2  # another vocabulary
    tokenizer = XLMTokenizer.from_pretrained(tmp_path / "out/tokenizer", ja="fugashi")
    assert len(tokenizer.vocab) == 2_500
    texts, langs = [row["text"] for row in corpus], [row["lang"] for row in corpus]
    encoded = tokenizer.encode_batch(texts, langs)
    assert encoded.num_unknown.sum() < 0.05 * len(encoded.input_ids)  # characters that occur once
    source = {"path": str(tmp_path / "texts.parquet"), "text": "text", "lang": "lang"}
    training = TrainingJob.model_validate(
        {
            "model": {
                "config": {"emb_dim": 32, "n_layers": 1, "n_heads": 2},
                "tokenizer": str(tmp_path / "out/tokenizer"),
            },
            "objectives": [{"masked-language-modeling": {"input": source, "stream_tokens": 64}}],
            "training": {"steps": 1, "tokens_per_step": 256},
            "tokenizer": {"ja": "fugashi"},
            "output": {"path": str(tmp_path / "model")},
        }
    )
    train_here(training)
    model = XLM.from_pretrained(tmp_path / "model/model", ja="fugashi")
    assert model.embed(["Rain again."], lang="en").shape == (1, 32)
