"""Rows that are rejected for each reason, and unusual rows that are not."""

import unicodedata
from typing import Any

import pyarrow as pa

from tests.chaos.bad_input.row_cases import Row, RowCases

WORDS = pa.list_(pa.string())


def text_row(name: str, value: str | bytes | None, reason: str | None = None, lang: str = "en") -> Row:
    """Make a row with this text."""
    return Row(name, {"text": value, "lang": lang}, reason)


def zalgo(word: str) -> str:
    """Put all combining marks on every letter."""
    marks = "".join(c for c in map(chr, range(0x300, 0x370)) if unicodedata.combining(c))
    return "".join(letter + marks for letter in word)


TEXTS = RowCases(
    "texts",
    pa.schema([("id", pa.string()), ("text", pa.string()), ("lang", pa.string())]),
    [
        text_row("a good text", "A good row."),
        text_row("a null text", None, "null_text"),
        text_row("an empty text", "", "empty_text"),
        text_row("a text of whitespace", " \u3000\u00a0\t\r\n", "empty_text"),
        text_row("a text of control characters", "\x00\x01\x02\x1b\x7f", "empty_text"),
        text_row("a text of invisible characters", "\u200b\u2060\ufeff\u00ad", "empty_text"),
        text_row("a text of combining marks", "\u0301\u0302", "empty_text"),
        text_row("a text of direction marks", "\u202e\u200f\u2066", "empty_text"),
        text_row("bytes in another encoding", b"caf\xe9", "invalid_utf8"),
        text_row("one half of a surrogate pair", b"\xed\xa0\x80", "invalid_utf8"),
        text_row("overlong UTF-8", b"\xc0\xaf", "invalid_utf8"),
        text_row("a truncated character at the end", "caf\u00e9".encode()[:-1], "invalid_utf8"),
        text_row("bytes of an image", b"\x89PNG\r\n\x1a\n\x00", "invalid_utf8"),
        text_row("a text of 10 MB", "ten MB of text " * 700_000, "too_many_chars"),
        text_row("a million combining marks", "e" + "\u0301" * 999_999),
        text_row("a word of 1 MB", "a" * 1_000_000),
        text_row("50,000 repetitions of one Chinese character", "中" * 50_000, lang="zh"),
        text_row("200,000 Thai letters in one word", "ก" * 200_000, lang="th"),
        text_row("200,000 kana in one word", "あ" * 200_000, lang="ja"),
        text_row("a text of dots", "." * 100_000),
        text_row("a URL of 100,000 characters", "http://" + "a/" * 50_000),
        text_row("letters with all combining marks (zalgo)", zalgo("hello world")),
        text_row("emoji only", "👩‍👩‍👧🏽 ✅ 🏴󠁧󠁢󠁥󠁮󠁧󠁿"),
        text_row("a null byte in a text", "zero \x00 byte"),
        text_row("right-to-left text with direction marks", "\u202eשלום\u202c עולם \u200f"),
        text_row("special tokens as text", "</s> <special1> <pad> <s> <unk>"),
        text_row("a byte order mark before the text", "\ufeffHello."),
        text_row("noncharacters and private-use characters", "\ue000\U000f0000\ufffe\U0010ffff", "empty_text"),
        text_row("such characters inside words", "a\ue000b c\ufffed"),
        text_row("a text in many scripts", "Γειά σου, שלום, こんにちは, สวัสดี, 你好, नमस्ते"),
        text_row("an unfilled template", "{{ name }} ${HOME} %s \\u0041 &lt;b&gt;"),
        text_row("SQL, markup and a path", "'; DROP TABLE x; -- <script>alert(1)</script> ../../etc/passwd"),
        text_row("line breaks of every kind", "a\rb\nc\r\nd\u2028e\u0085f\x0bg"),
    ],
    {"id": lambda i: f"row {i}", "text": "A row.", "lang": "en"},
)

LANGS_AND_IDS = RowCases(
    "languages and ids",
    TEXTS.schema,
    [
        Row("a null language", {"lang": None}, "null_lang"),
        Row("an empty language", {"lang": ""}, "null_lang"),
        Row("a language that is NaN as text", {"lang": "NaN"}, "null_lang"),
        Row("an undetermined language", {"lang": "und"}, "null_lang"),
        Row("a language that is not in the checkpoint", {"lang": "tlh"}, "unknown_lang"),
        Row("a language that is not a code", {"lang": "the English language"}, "unknown_lang"),
        Row("a language of 1 MB", {"lang": "en" * 500_000}, "unknown_lang"),
        Row("a language that is not UTF-8", {"lang": b"\xff"}, "invalid_utf8"),
        Row("a language with line breaks and markup", {"lang": "e\nn<script>"}, "unknown_lang"),
        Row("a language in capitals", {"lang": "EN"}),
        Row("a language with a country and a script", {"lang": "zh_Hans-CN", "text": "你好，世界"}),
        Row("a null id", {"id": None}, "null_id"),
        Row("an id that is not UTF-8", {"id": b"\xfe\xff"}, "invalid_utf8"),
        Row("the id of an earlier row", {"id": "row 7"}, "duplicate_id"),
        Row("an id of 1 MB", {"id": "x" * 1_000_000}),
        Row("an empty id", {"id": ""}),
        Row("an id that is a path outside the output", {"id": "../../../../tmp/escaped"}),
        Row("an id that is an absolute path", {"id": "/etc/passwd"}),
        Row("an id with null bytes and line breaks", {"id": "a\x00b\nc"}),
        Row("an id with markup", {"id": "<script>alert('x')</script>"}),
    ],
    TEXTS.usual,
    {"policy.duplicate_ids": "reject", "input.keep": ["lang"]},
)

NUMBERED = RowCases(
    "integer ids",
    pa.schema([("id", pa.uint64()), ("text", pa.string()), ("lang", pa.string())]),
    [
        Row("the id 0", {"id": 0}),
        Row("an id of more than 63 bits", {"id": 2**63 + 1}),
        Row("the largest id", {"id": 2**64 - 1}),
        Row("a null id among numbers", {"id": None}, "null_id"),
        Row("the largest id again", {"id": 2**64 - 1}, "duplicate_id"),
    ],
    TEXTS.usual | {"id": lambda i: i + 1},
    {"policy.duplicate_ids": "reject"},
)

NEGATIVE = RowCases(
    "signed integer ids",
    pa.schema([("id", pa.int64()), ("text", pa.string()), ("lang", pa.string())]),
    [Row("a negative id", {"id": -1}), Row("the smallest id", {"id": -(2**63)})],
    TEXTS.usual,
    {"policy.duplicate_ids": "reject"},
)

GIVEN_WORDS = RowCases(
    "texts as lists of words",
    pa.schema([("id", pa.string()), ("text", WORDS), ("lang", pa.string())]),
    [
        Row("good words", {"text": ["Good", "words", "."]}),
        Row("a null list", {"text": None}, "null_text"),
        Row("no words", {"text": []}, "empty_text"),
        Row("null words only", {"text": [None, None]}, "empty_text"),
        Row("empty words only", {"text": ["", " "]}, "empty_text"),
        Row("a null word among others", {"text": ["Good", None, "words"]}),
        Row("an empty word among others", {"text": ["Good", "", "words"]}),
        Row("a word that contains spaces", {"text": ["Good words", "in one"]}),
        Row("a word that is not UTF-8", {"text": ["Good", b"\xff", "words"]}, "invalid_utf8"),
        Row("a word of control characters", {"text": ["\x00\u200b"]}, "empty_text"),
        Row("100,000 words", {"text": ["word"] * 100_000}),
    ],
    TEXTS.usual,
    {"tasks": [{"token-classification": {"head": "{heads}/heads/tags"}}]},
)

_QUESTION: dict[str, Any] = {"question": "Who wrote it?", "context": "Ada wrote it in 1843."}

QUESTIONS = RowCases(
    "questions with a context",
    pa.schema([("id", pa.string()), ("question", pa.string()), ("context", pa.string()), ("lang", pa.string())]),
    [
        Row("a good question", {}),
        Row("a question without a context", {"context": None}, "null_text"),
        Row("a question with an empty context", {"context": ""}, "empty_text"),
        Row("a context of combining marks", {"context": "\u200b\u0301"}, "empty_text"),
        Row("a context without a question", {"question": None}, "null_text"),
        Row("a context that is not UTF-8", {"context": b"\xff"}, "invalid_utf8"),
        Row("a question that fills the model", {"question": "why " * 500}, "too_many_tokens"),
        Row("a context of 10,000 words", {"context": "Ada wrote it. " * 1_000}),
    ],
    TEXTS.usual | _QUESTION,
    {
        "input.text": ["question", "context"],
        "model.checkpoint": "{heads}/lm",
        "tasks": [{"question-answering": {"head": "{heads}/heads/spans"}}],
        "tokenizer.on_overflow": "window",
        "tokenizer.overlap_tokens": 16,
    },
)

CHOICES = RowCases(
    "a premise and choices",
    pa.schema([("id", pa.string()), ("premise", pa.string()), ("choices", WORDS), ("lang", pa.string())]),
    [
        Row("good choices", {}),
        Row("no premise", {"premise": None}, "null_text"),
        Row("an empty premise", {"premise": " "}, "empty_text"),
        Row("a null list of choices", {"choices": None}, "no_choices"),
        Row("an empty list of choices", {"choices": []}, "no_choices"),
        Row("an empty choice", {"choices": ["It rained.", ""]}, "empty_text"),
        Row("a single choice", {"choices": ["It rained."]}),
        Row("identical choices", {"choices": ["It rained."] * 3}),
        Row("a choice that is not UTF-8", {"choices": ["It rained.", b"\xff"]}, "invalid_utf8"),
        Row("100 choices", {"choices": [f"Choice {i}." for i in range(100)]}),
    ],
    TEXTS.usual | {"premise": "The street was wet.", "choices": ["It rained.", "The sun shone."]},
    {
        "input.text": ["premise", "choices"],
        "model.checkpoint": "{heads}/lm",
        "tasks": [{"multiple-choice": {"head": "{heads}/heads/choice"}}],
    },
)

ROW_CASES = [TEXTS, LANGS_AND_IDS, NUMBERED, NEGATIVE, GIVEN_WORDS, QUESTIONS, CHOICES]
