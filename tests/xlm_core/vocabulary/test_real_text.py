from collections import Counter
from pathlib import Path

import pytest
from pyarrow import parquet

from tests.xlm_core.vocabulary.slow_merges import learn_slowly
from xlm_core import Segmenters, XLMTokenizer
from xlm_core.tokenizer import write_tokenizer_files
from xlm_core.vocabulary import WordCounter, count_tokens, learn_merges, learn_tokenizer, weigh_langs

Texts = tuple[list[str], list[str]]


@pytest.fixture(scope="module")
def texts(real_corpora: Path) -> Texts:
    """Read every fifth sentence of a corpus in 24 languages."""
    rows = parquet.read_table(real_corpora / "tatoeba.parquet", columns=["text", "lang"]).to_pylist()[::5]
    return [row["text"] for row in rows], [row["lang"] for row in rows]


def test_merges_are_those_of_the_definition(texts: Texts):
    words = weigh_langs(WordCounter(Segmenters(ja="fugashi")).count(*texts), 0.5)
    assert [*learn_merges(words, 40)] == learn_slowly(words, 40)


@pytest.mark.parametrize("lowercase", [True, False])
def test_texts_have_exactly_the_counted_tokens(texts: Texts, tmp_path: Path, lowercase: bool):
    words = WordCounter(Segmenters(ja="fugashi"), lowercase=lowercase).count(*texts)
    files = learn_tokenizer(words, 12_000, min_count=1, lowercase=lowercase)
    write_tokenizer_files(tmp_path, files)
    tokenizer = XLMTokenizer.from_pretrained(tmp_path, ja="fugashi")
    found = Counter(tokenizer.convert_ids_to_tokens(tokenizer.encode_texts(*texts).ids.tolist()))
    assert found == +Counter(count_tokens(weigh_langs(words, 1), files.merges, files.vocab))
    assert "<unk>" not in found
