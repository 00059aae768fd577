"""Answers are scored by the rules of the published scripts."""

import numpy as np
import pyarrow as pa
import pytest

from pipelines.evaluation.measures.answer_rules import answer_words, exact_match, f1
from tests.pipelines.evaluation.outputs import ANSWERS, evaluate_files, metrics, write_gold, write_output

FIELDS = [pa.field("answers", ANSWERS), pa.field("no_answer_score", pa.float32())]


@pytest.mark.parametrize(
    ("lang", "text", "words"),
    [
        ("en", "The  Panthers' “defense”, an A-team", ["panthers", "“defense”", "ateam"]),  # ASCII punctuation only
        ("es", "Las «defensas» de la casa", ["defensas", "de", "casa"]),
        ("de", "Die Katze – des Nachbarn", ["katze", "nachbarn"]),
        ("vi", "những ngôi nhà của tôi", ["ngôi", "nhà", "tôi"]),
        ("ar", "في البيت الكبير", ["في", "بيت", "كبير"]),  # the article is removed anywhere
        ("hi", "यह, एक घर।", ["यह", "एक", "घर"]),
        ("zh", "北京的 NBA球队。2015年", ["北", "京", "的", "nba", "球", "队", "2015", "年"]),
        ("ru", "Дом «а»", ["дом", "а"]),
        ("fr", "Le la un", ["le", "la", "un"]),  # MLQA has no articles of French
        ("ja", "東京タワー NHK", ["東", "京", "タ", "ワ", "ー", "nhk"]),
        ("eng", "the end", ["end"]),
        ("zh-Hans", "上海", ["上", "海"]),
    ],
)
def test_words_of_answers(lang, text, words):
    assert list(answer_words(text, lang)) == words


@pytest.mark.parametrize(
    ("lang", "answer", "golds", "expected"),
    [
        ("en", "the Denver Broncos", ["Denver Broncos", "Broncos"], (1, 1)),
        ("en", "Broncos of Denver", ["Denver Broncos"], (0, 0.8)),
        ("en", "308", ["24"], (0, 0)),
        ("en", "b b a1", ["b a1 a1"], (0, 2 / 3)),  # words are counted as often as they occur
        ("en", "", [""], (1, 1)),
        ("en", "Denver", [""], (0, 0)),
        ("en", "a", ["the"], (1, 1)),  # no words are left, as in SQuAD 2.0
        ("zh", "北京市", ["北京"], (0, 0.8)),
        ("de", "der Hund", ["ein Hund", "Katze"], (1, 1)),
    ],
)
def test_exact_match_and_f1(lang, answer, golds, expected):
    assert (exact_match(answer, golds, lang), f1(answer, golds, lang)) == pytest.approx(expected)


def answer(text, score):
    return {"text": text, "score": score, "start": 0}


def test_best_answer_counts_and_languages_have_their_own_rules(tmp_path):
    rows = [
        {"id": "1", "lang": "en", "answers": [answer("The Hund", 0.5), answer("x", 0.1)], "no_answer_score": 0.9},
        {"id": "2", "lang": "de", "answers": [answer("der Hund", 0.4)], "no_answer_score": 0.1},
        {"id": "3", "lang": "de", "answers": [answer("the Hund", 0.4)], "no_answer_score": 0.1},
        {"id": "4", "lang": "de", "answers": [], "no_answer_score": 0.1},
    ]
    out = write_output(tmp_path, "question-answering", rows, FIELDS, rows_per_part=2)
    gold = [{"id": str(i), "answer_text": "Hund"} for i in (4, 3, 2, 1)]
    found = evaluate_files(out, write_gold(tmp_path, gold))
    assert metrics(found, "en") == {"exact match": 1, "F1": 1}
    assert metrics(found, "de") == pytest.approx({"exact match": 1 / 3, "F1": (1 + 2 / 3 + 0) / 3})


def test_questions_without_an_answer(tmp_path):
    """Only if the gold labels have such questions, "no answer" can be predicted."""
    rows = [
        {"id": "1", "lang": "en", "answers": [answer("dog", 0.5)], "no_answer_score": 0.9},
        {"id": "2", "lang": "en", "answers": [answer("cat", 0.5)], "no_answer_score": 0.2},
    ]
    out = write_output(tmp_path, "question-answering", rows, FIELDS)
    squad = [{"id": "1", "answers": {"text": [], "answer_start": []}}, {"id": "2", "answers": {"text": ["cat"]}}]
    kind = pa.struct([("text", pa.list_(pa.string())), ("answer_start", pa.list_(pa.int32()))])
    gold = write_gold(tmp_path, squad, pa.schema([("id", pa.string()), ("answers", kind)]))
    assert metrics(evaluate_files(out, gold)) == {"exact match": 1, "F1": 1}
    answered = write_gold(tmp_path, [{"id": "1", "answers": ["hund", "dog"]}, {"id": "2", "answers": ["cat"]}])
    assert metrics(evaluate_files(out, answered)) == {"exact match": 1, "F1": 1}


def test_f1_is_symmetric_and_exact_match_implies_f1():
    rng = np.random.default_rng(0)
    for _ in range(200):
        a, b = (" ".join(rng.choice(["ein", "x", "y", "z,", "Z"], rng.integers(0, 5))) for _ in range(2))
        assert f1(a, [b], "de") == f1(b, [a], "de")
        assert f1(a, [b], "de") == 1 or not exact_match(a, [b], "de")
