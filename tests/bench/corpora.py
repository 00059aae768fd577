"""The texts that benchmarks run on: real sentences of a folder of corpora, or the demo's corpus."""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

DEMO = Path(__file__).parents[2] / "jobs/demo/corpus.jsonl"
COLUMNS = {"ud_pos": ["text"], "tatoeba": ["text"], "xquad": ["context", "question"]}
VOCABULARY_SENTENCES, NUM_MERGES = 10_000, 20_000


class Sentence(NamedTuple):
    lang: str
    text: str


class Corpora(NamedTuple):
    """Texts of many languages.

    Attributes:
        sentences: without repetition, in random but reproducible order, so that every slice has all languages.
        description: where they are from.
        folder: that contains the corpora; None for the demo's corpus.
    """

    sentences: list[Sentence]
    description: str
    folder: Path | None


def read_corpora(folder: str | Path | None = None) -> Corpora:
    """Read the texts of a folder, by default of `XLM_TEST_CORPORA`; the demo's corpus if neither is given."""
    folder = folder or os.environ.get("XLM_TEST_CORPORA")
    if not folder:
        rows = [json.loads(line) for line in DEMO.read_text(encoding="utf-8").splitlines()]
        return Corpora(_shuffled(Sentence(row["lang"], row["text"]) for row in rows), "the demo's corpus", None)
    import pyarrow.parquet as pq

    folder = Path(folder)
    found = [name for name in COLUMNS if (folder / f"{name}.parquet").is_file()]
    if not found:
        raise SystemExit(f"{folder}: has none of {', '.join(f'{name}.parquet' for name in COLUMNS)}")
    sentences: list[Sentence] = []
    for name in found:
        table = pq.read_table(folder / f"{name}.parquet", columns=["lang", *COLUMNS[name]])
        langs = table["lang"].to_pylist()
        for column in COLUMNS[name]:
            sentences += map(Sentence, langs, table[column].to_pylist())
    return Corpora(_shuffled(sentences), ", ".join(found), folder)


def write_checkpoint(folder: Path, sentences: list[Sentence], **shape: int) -> Path:
    """Write a checkpoint with random weights, and a vocabulary that is learned from some of the sentences.

    Args:
        folder: where it is written.
        sentences: the first `VOCABULARY_SENTENCES` of them are learned from.
        shape: changes to the shape of the model, such as `emb_dim` and `n_layers`.
    """
    import torch

    from jobs.demo.vocabulary import write_vocabulary
    from xlm_core import Segmenters, XLMConfig, XLMWithLMHeadModel
    from xlm_core.text import lower_and_strip_accents

    folder.mkdir(parents=True)
    segmenters = Segmenters(zh="rjieba", ja="fugashi")
    words: list[str] = []
    for lang, text in sentences[:VOCABULARY_SENTENCES]:
        for word in segmenters.segment(text, lang).words:
            words += lower_and_strip_accents(word)[0].split(" ")
    size = write_vocabulary(folder, words, num_merges=NUM_MERGES)
    lang2id = {lang: i for i, lang in enumerate(sorted({lang for lang, _ in sentences}))}
    langs = {"lang2id": lang2id, "id2lang": {str(i): lang for lang, i in lang2id.items()}}
    settings = {"do_lowercase_and_remove_accent": True, **langs}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    torch.manual_seed(0)
    config = {"vocab_size": size, "emb_dim": 512, "n_layers": 6, "n_heads": 8, "n_langs": len(lang2id), **langs}
    XLMWithLMHeadModel(XLMConfig.from_dict(config | shape)).save_pretrained(folder)
    return folder


def _shuffled(sentences: Iterable[Sentence]) -> list[Sentence]:
    unique = list(dict.fromkeys(sentences))
    return [unique[i] for i in np.random.default_rng(0).permutation(len(unique))]
