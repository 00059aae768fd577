"""Prepare the data of the checkpoint in the box: split it, and write the rows of each objective as Parquet.

    python prepare.py DATA FOLDER

Reads tatoeba.parquet, ud_pos.parquet, xquad.parquet and xcopa.parquet from DATA, and writes to FOLDER.
Everything that is random depends on a seed, and what is in a split on the ids alone.
"""

from __future__ import annotations

import hashlib
import re
import sys
import unicodedata
from collections import defaultdict
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Iterable

TEST, DEV = 300, 50  # Tatoeba pairs of each language that are held out
SMALL = 700  # pairs; of a language with fewer, a third as many are test
IDENTIFICATION_ROWS = 6_000  # of each language; shorter lists are repeated
FRAGMENTS = 0.6  # share of these rows that are parts of a text, so that no text is seen too often
MAX_CHARS = 300  # of a sentence
MEETINGS = 6  # pairs of two languages other than English that are taken from each text in several languages
UNSPACED = ("ja", "th", "zh")
CONTRACTIONS = {  # which the treebanks split, and other texts do not
    "de": {
        "an dem": "am",
        "bei dem": "beim",
        "in das": "ins",
        "in dem": "im",
        "von dem": "vom",
        "zu dem": "zum",
        "zu der": "zur",
    },
    "el": {
        "σ τα": "στα",
        "σ τη": "στη",
        "σ την": "στην",
        "σ τις": "στις",
        "σ το": "στο",
        "σ τον": "στον",
        "σ τους": "στους",
    },
    "es": {"a el": "al", "de el": "del"},
    "fr": {"de le": "du", "de les": "des", "à le": "au", "à les": "aux"},
}
SENTENCE_END = re.compile(r"(?<=[.!?؟।۔])\s+|(?<=[。！？])\s*")


def main(data: Path, output: Path) -> None:
    """Write all files."""
    rng = np.random.default_rng(0)
    tatoeba = split_tatoeba(pd.read_parquet(data / "tatoeba.parquet"))
    words = split_treebanks(pd.read_parquet(data / "ud_pos.parquet"))
    tatoeba, words = remove_held_out(tatoeba, words)
    held_pairs, held_words = (table[table.split != "train"] for table in (tatoeba, words))
    held_out = text_keys([*held_pairs.text, *held_pairs.text_en, *held_words.text])
    langs = sorted({*tatoeba.lang, "en"})
    meanings = find_meanings(tatoeba, data, langs, held_out)
    by_lang = collect_texts(meanings, words, langs)
    sentences = {lang: list(group.text) for lang, group in tatoeba[tatoeba.split == "train"].groupby("lang")}
    sentences["en"] = sorted(set(tatoeba[tatoeba.split == "train"].text_en))
    dev, test = (tatoeba[tatoeba.split == split] for split in ("dev", "test"))

    write(output / "texts", [(lang, text) for lang, texts in by_lang.items() for text in texts], ["lang", "text"])
    pairs = ["lang", "text", "second_lang", "second_text"]
    write(output / "pairs", make_pairs(meanings, rng), pairs)
    write(output / "pairs_dev", [(row.lang, row.text, "en", row.text_en) for row in dev.itertuples()], pairs)
    labelled = ["text", "language"]
    write(output / "languages", make_identification_rows(by_lang, sentences, rng), labelled)
    write(output / "languages_dev", zip(dev.text, dev.lang, strict=True), labelled)
    for split, rows in words.groupby("split"):
        columns = ["id", "lang", "tokens", "upos"]
        found = rows[columns].to_numpy().tolist()
        write(output / f"words_{split}", add_variants(balance(found), rng) if split == "train" else found, columns)
    write(output / "tatoeba_test", test[["id", "lang", "text"]].to_numpy(), ["id", "lang", "text"])
    write(output / "english_test", test[["id", "lang", "text_en"]].to_numpy(), ["id", "lang", "text"])


def split_tatoeba(table: pd.DataFrame) -> pd.DataFrame:
    """Split each language by the hash of the ids: the last ones are test, those before them dev."""
    split: dict[str, str] = {}
    for _, group in table.groupby("lang"):
        part = 1 if len(group) >= SMALL else 3
        test, dev = TEST // part, DEV
        ids = sorted(group.id, key=digest)
        train = len(ids) - test - dev
        split |= dict.fromkeys(ids[:train], "train") | dict.fromkeys(ids[train : train + dev], "dev")
        split |= dict.fromkeys(ids[train + dev :], "test")
    return table.assign(split=table.id.map(split))


def split_treebanks(table: pd.DataFrame) -> pd.DataFrame:
    """Keep the test splits of the treebanks, and train on their dev splits as well, except for a tenth."""
    is_tenth = np.array([int(digest(row_id), 16) % 10 == 0 for row_id in table.id])
    split = table.split.where((table.split != "dev") | is_tenth, "train")
    return table.assign(split=split)


def remove_held_out(tatoeba: pd.DataFrame, words: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Remove from train the texts, in any language, that are in dev or test, and from dev those that are in test."""
    columns = ["text", "text_en"]
    treebank_test = text_keys(words[words.split == "test"].text)
    test = treebank_test | text_keys(tatoeba[tatoeba.split == "test"][columns].to_numpy().ravel())
    dev = test | text_keys(tatoeba[tatoeba.split == "dev"][columns].to_numpy().ravel())
    forbidden = {"train": dev, "dev": test, "test": frozenset[str]()}
    keep = [
        forbidden[row.split].isdisjoint({text_key(row.text), text_key(row.text_en)}) for row in tatoeba.itertuples()
    ]
    forbidden["dev"] = dev
    keep_words = [text_key(row.text) not in forbidden[row.split] for row in words.itertuples()]
    return tatoeba[keep], words[keep_words]


def find_meanings(tatoeba: pd.DataFrame, data: Path, langs: list[str], held_out: set[str]) -> list[dict[str, str]]:
    """Find texts that translate each other: for each meaning, its text in two or more languages."""
    train = tatoeba[tatoeba.split == "train"]
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for row in train.itertuples():
        found[text_key(row.text_en)].setdefault("en", row.text_en)
        found[text_key(row.text_en)].setdefault(row.lang, row.text)
    meanings = list(found.values())
    questions = pd.read_parquet(data / "xquad.parquet")
    questions = questions.assign(number=[row_id.split("-", 1)[1] for row_id in questions.id])
    contexts: dict[str, dict[str, list[str]]] = {}
    for _, group in questions.groupby("number"):
        meanings.append(dict(zip(group.lang, group.question.str.strip(), strict=True)))
        context = dict(zip(group.lang, group.context, strict=True))
        contexts[context["en"]] = {lang: split_sentences(text) for lang, text in context.items()}
    for sentences in contexts.values():
        number = len(sentences["en"])
        aligned = {lang: texts for lang, texts in sentences.items() if len(texts) == number}
        meanings += [{lang: texts[i] for lang, texts in aligned.items()} for i in range(number)]
        meanings += [{lang: text} for lang, texts in sentences.items() if lang not in aligned for text in texts]
    choices = pd.read_parquet(data / "xcopa.parquet")
    choices = choices[choices.split == "val"]
    for _, group in choices.groupby([row_id.split("-", 1)[1] for row_id in choices.id]):
        meanings += [dict(zip(group.lang, group[column], strict=True)) for column in ("premise", "choice1", "choice2")]
    allowed = [
        {lang: text for lang, text in texts.items() if lang in langs and text_key(text) not in held_out}
        for texts in meanings
    ]
    return [texts for texts in allowed if texts]


def collect_texts(meanings: list[dict[str, str]], words: pd.DataFrame, langs: list[str]) -> dict[str, list[str]]:
    """Collect the distinct texts of each language."""
    texts: dict[str, dict[str, None]] = {lang: {} for lang in langs}
    for meaning in meanings:
        for lang, text in meaning.items():
            texts[lang][text] = None
    for row in words[words.split == "train"].itertuples():
        texts[row.lang][row.text] = None
    return {lang: list(found) for lang, found in texts.items()}


def make_pairs(meanings: list[dict[str, str]], rng: np.random.Generator) -> list[tuple[str, str, str, str]]:
    """Pair each text with its English translation, and some texts with one another."""
    rows: list[tuple[str, str, str, str]] = []
    for texts in meanings:
        others = sorted(texts.keys() - {"en"})
        if "en" in texts:
            rows += [(lang, texts[lang], "en", texts["en"]) for lang in others]
        pairs = list(combinations(others, 2))
        for i in rng.permutation(len(pairs))[:MEETINGS]:
            first, second = pairs[i]
            rows.append((first, texts[first], second, texts[second]))
    return [(first, text[:MAX_CHARS], second, other[:MAX_CHARS]) for first, text, second, other in rows]


def make_identification_rows(
    texts: dict[str, list[str]], sentences: dict[str, list[str]], rng: np.random.Generator
) -> list[tuple[str, str]]:
    """Draw equally many rows of each language: three in five are sentences of Tatoeba, and most are fragments."""
    rows: list[tuple[str, str]] = []
    for lang, own in texts.items():
        order, all_order = rng.permutation(len(sentences[lang])), rng.permutation(len(own))
        for i in range(IDENTIFICATION_ROWS):
            text = sentences[lang][order[i % len(order)]] if i % 5 < 3 else own[all_order[i % len(all_order)]]
            if rng.random() < FRAGMENTS or len(text) > MAX_CHARS:
                text = cut(text, lang, rng)
            rows.append((text.lower() if rng.random() < 0.1 else text, lang))
    return [rows[i] for i in rng.permutation(len(rows))]


def cut(text: str, lang: str, rng: np.random.Generator) -> str:
    """Cut out 2 to 20 words, or 4 to 40 characters where words are not separated."""
    spaced = lang not in UNSPACED
    units = text.split() if spaced else list(text)
    low, high = (2, 20) if spaced else (4, 40)
    size = int(rng.integers(low, high + 1))
    start = int(rng.integers(0, max(1, len(units) - size + 1)))
    return (" " if spaced else "").join(units[start : start + size])


def balance(rows: list[list[object]]) -> list[list[object]]:
    """Repeat the rows of small treebanks, so that each occurs with the root of its number of words."""
    sizes: dict[object, int] = defaultdict(int)
    for row in rows:
        sizes[row[1]] += len(row[2])  # pyright: ignore[reportArgumentType]
    largest = max(sizes.values())
    repeated: list[list[object]] = []
    for lang, size in sizes.items():
        own = [row for row in rows if row[1] == lang]
        number = round(len(own) * (largest / size) ** 0.5)
        repeated += [own[i % len(own)] for i in range(number)]
    return repeated


def add_variants(rows: list[list[object]], rng: np.random.Generator) -> list[list[object]]:
    """Lower-case one row in ten, and contract words in every second row."""
    found: list[list[object]] = []
    for row_id, lang, tokens, tags in rows:
        words, labels = list(tokens), list(tags)
        if rng.random() < 0.5:
            words, labels = contract(words, labels, lang)
        if rng.random() < 0.1:
            words = [word.lower() for word in words]
        found.append([row_id, lang, words, labels])
    return found


def contract(words: list[str], tags: list[str], lang: str) -> tuple[list[str], list[str]]:
    """Contract prepositions and articles, such as "in dem" to "im", which is a preposition."""
    short = CONTRACTIONS.get(lang, {})
    found: list[tuple[str, str]] = []
    for word, tag in zip(words, tags, strict=True):
        last, last_tag = found[-1] if found else ("", "")
        contracted = short.get(f"{last.lower()} {word}") if (last_tag, tag) == ("ADP", "DET") else None
        if contracted is None:
            found.append((word, tag))
        else:
            found[-1] = (contracted.capitalize() if last[0].isupper() else contracted, "ADP")
    return [word for word, _ in found], [tag for _, tag in found]


def split_sentences(text: str) -> list[str]:
    """Split a text after the punctuation that ends sentences."""
    return [sentence for sentence in SENTENCE_END.split(text.strip()) if sentence]


def text_key(text: str) -> str:
    """Return what identifies a text: its letters and digits, without case."""
    return "".join(c for c in unicodedata.normalize("NFKC", text).casefold() if c.isalnum())


def text_keys(texts: Iterable[str]) -> set[str]:
    """Return the keys of texts."""
    return {text_key(text) for text in texts}


def digest(row_id: str) -> str:
    """Return the hash by which rows are distributed over splits."""
    return hashlib.md5(row_id.encode(), usedforsecurity=False).hexdigest()


def write(folder: Path, rows: Iterable[object], columns: list[str]) -> None:
    """Write rows as a Parquet file, with a number as the id unless they have one."""
    table = pd.DataFrame(rows, columns=columns)
    if "id" not in columns:
        table.insert(0, "id", [f"{i:07}" for i in range(len(table))])
    folder.mkdir(parents=True, exist_ok=True)
    table.to_parquet(folder / "rows.parquet", index=False)
    print(f"{folder.name}: {len(table):,} rows")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
