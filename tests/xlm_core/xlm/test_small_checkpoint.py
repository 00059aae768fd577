"""The checkpoint in the package knows languages, parts of speech and translations, on sentences that it never saw."""

import json
from importlib.resources import files

import numpy as np
import pytest

from xlm_core import XLM

LANGUAGE, UPOS = "builtin://small/heads/language", "builtin://small/heads/upos"

TAGGED = {
    "en": "The/DET children/NOUN are/AUX playing/VERB in/ADP the/DET garden/NOUN ./PUNCT",
    "de": "Die/DET Kinder/NOUN spielen/VERB im/ADP Garten/NOUN ./PUNCT",
    "fr": "Elle/PRON habite/VERB une/DET petite/ADJ maison/NOUN ./PUNCT",
    "es": "Los/DET niños/NOUN juegan/VERB en/ADP el/DET jardín/NOUN ./PUNCT",
    "ru": "Дети/NOUN играют/VERB в/ADP саду/NOUN ./PUNCT",
}

# Pairs of sentences with one word as a verb and as a noun.
AMBIGUOUS = [
    ("en", "love", "I love you .", "Our love is strong ."),
    ("en", "work", "We work here .", "The work is hard ."),
    ("fr", "porte", "Il porte une lettre .", "La porte est ouverte ."),
]


@pytest.fixture(scope="module")
def small() -> XLM:
    return XLM.from_pretrained("builtin://small", ja="fugashi", unknown_lang="neutral")


@pytest.fixture(scope="module")
def translations() -> dict[str, dict[str, str]]:
    """Read the demo's sentences: for each language, the text of each meaning."""
    found: dict[str, dict[str, str]] = {}
    for line in (files("jobs.demo") / "translations.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        found.setdefault(row["lang"], {})[row["id"].partition("-")[0]] = row["text"]
    return found


def test_languages_are_found(small, corpus, translations):
    texts = [row["text"] for row in corpus] + [text for texts in translations.values() for text in texts.values()]
    langs = [row["lang"] for row in corpus] + [lang for lang, texts in translations.items() for _ in texts]
    found = [label.label for label in small.classify(texts, "und-unknown", head=LANGUAGE)]
    assert np.mean(np.array(found) == langs) > 0.95


def test_words_are_tagged(small):
    right: list[bool] = []
    for lang, sentence in TAGGED.items():
        words, tags = zip(*(pair.rsplit("/", 1) for pair in sentence.split()), strict=True)
        (spans,) = small.tag([list(words)], lang, head=UPOS)
        right += [span.label == tag for span, tag in zip(spans, tags, strict=True)]
    assert np.mean(right) > 0.9


@pytest.mark.parametrize(("lang", "word", "verb", "noun"), AMBIGUOUS)
def test_tags_depend_on_neighbouring_words(small, lang, word, verb, noun):
    sentences = [verb.split(), noun.split()]
    tagged = small.tag(sentences, lang, head=UPOS)
    tags = [spans[words.index(word)].label for words, spans in zip(sentences, tagged, strict=True)]
    assert tags == ["VERB", "NOUN"]


def test_nearest_texts_are_translations(small, translations):
    vectors = {lang: small.embed(list(texts.values()), lang, layer=1) for lang, texts in translations.items()}
    right = [
        (vectors[lang] @ vectors["en"].T).argmax(1) == np.arange(len(vectors["en"])) for lang in vectors if lang != "en"
    ]
    assert np.mean(right) > 0.75
