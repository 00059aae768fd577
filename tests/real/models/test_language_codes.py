"""The codes that people have in their language columns, for each of the ten released checkpoints.

The expected languages are written down in `language_codes.txt`, and the languages of the checkpoints in
`released_languages.json`.
"""

import importlib.metadata
import json
import pickle
import time
from pathlib import Path

import pyarrow as pa
import pytest

from pipelines.errors import FatalError
from pipelines.job import InputSettings, PolicySettings
from pipelines.rows import ROW, Rejection, RejectionReason
from pipelines.run.checks.checkpoint import check_fixed_lang
from pipelines.run.prepare import prepare_job
from pipelines.stages import tokenize
from pipelines.stages.checks.lang_checks import LangChecks
from pipelines.stages.checks.row_checks import RowChecks
from tests.flow.in_process import read_rejected
from xlm_core import XLMTokenizer
from xlm_core.languages import canonical_lang, is_missing_lang, resolve_lang

_FOLDER = Path(__file__).parent
_RELEASED: dict[str, list[str]] = {
    name: (langs or "").split()
    for name, langs in json.loads((_FOLDER / "released_languages.json").read_text("utf-8")).items()
}
_MISSING = ["", " ", "\t\n", "nan", "NaN", "NAN", " nan ", "-nan", "None", "none", "null", "NULL", "N/A", "n/a", "NA"]
_MISSING += ["<NA>", "#N/A", "und", "UND", "und-Latn", "und_Arab", "mul", "zxx", "zxx-Zxxx"]


def _read_table() -> dict[str, tuple[str, str]]:
    """Return the key and the containing key of each code."""
    table: dict[str, tuple[str, str]] = {}
    for line in (_FOLDER / "language_codes.txt").read_text("utf-8").splitlines():
        if not line.startswith("#"):
            keys, *codes = line.split()
            key, _, container = keys.partition(">")
            for code in codes:
                assert table.setdefault(code, (key, container)) == (key, container), f"{code} is listed twice"
    return table


_TABLE = _read_table()


def test_the_table_covers_every_language():
    assert {key for key, _ in _TABLE.values()} == {*_RELEASED["xlm-mlm-100-1280"], "-"}
    assert len(_TABLE) > 1_250
    assert len(_RELEASED) == 10


@pytest.mark.parametrize("name", [name for name, langs in _RELEASED.items() if langs])
def test_every_code_resolves_to_its_language_or_to_none(name):
    langs = _RELEASED[name]
    expected = {code: next((key for key in keys if key in langs), None) for code, keys in _TABLE.items()}
    assert {code: resolve_lang(code, langs) for code in _TABLE} == expected


@pytest.mark.parametrize("name", [name for name, langs in _RELEASED.items() if langs])
def test_case_and_separators_do_not_matter(name):
    langs = _RELEASED[name]
    for code in _TABLE:
        found = resolve_lang(code, langs)
        for spelling in (code.replace("-", "_"), code.replace("_", "-"), code.upper(), code.title(), f" {code}\n"):
            assert resolve_lang(spelling, langs) == (None if is_missing_lang(spelling) else found), spelling


@pytest.mark.parametrize("value", _MISSING)
def test_missing_languages_are_not_min_nan(value):
    assert is_missing_lang(value)
    assert resolve_lang(value, _RELEASED["xlm-mlm-100-1280"]) is None
    assert resolve_lang(value, ["nan", "zh"]) is None
    assert canonical_lang(value) is None


@pytest.mark.parametrize("value", ["nan_Hant", "zh_min_nan", "na", "no", "non", "nul", "mis", "in", "is"])
def test_codes_that_look_like_missing_languages_are_languages(value):
    assert not is_missing_lang(value)


@pytest.mark.parametrize("value", ["unknown", "und-so weiter", "nan nan", "No text.", "mul-tiple"])
def test_other_texts_are_no_languages_but_not_missing(value):
    assert not is_missing_lang(value)
    assert resolve_lang(value, _RELEASED["xlm-mlm-100-1280"]) is None
    assert canonical_lang(value) is None


@pytest.mark.parametrize(
    ("code", "segmented_as"),
    [
        *((code, "zh") for code in ("zh", "zho", "chi", "cmn", "zho_Hans", "zh_CN", "zh-Hant-TW", "cmn-Hans", "ZH")),
        *((code, "ja") for code in ("ja", "jpn", "jp", "jpn_Jpan", "ja_JP.UTF-8")),
        *((code, "th") for code in ("th", "tha", "tha_Thai")),
        # The reference segments these by Moses.
        *((code, code) for code in ("wuu", "gan", "yue", "lzh", "hak", "simple", "arz", "ckb", "no", "nn", "sh", "tl")),
        ("zh_yue", "yue"), ("zh_classical", "lzh"), ("nan_Hant", "nan"), ("als_Latn", "sq"), ("gsw", "gsw"),
        ("nb", "no"), ("nob", "no"), ("deu_Latn", "de"), ("iw", "he"), ("prs", "fa"), ("ory_Orya", "or"),
        ("kmr", "ku"), ("swh_Latn", "sw"), ("tlh", "tlh"), ("english", None), ("no_data", None), ("A text.", None),
    ],
)  # fmt: skip
def test_codes_select_a_segmenter_without_a_checkpoint(code, segmented_as):
    assert canonical_lang(code) == segmented_as


def test_codes_of_the_checkpoints_select_their_own_segmenter():
    """Without lang2id, a two-letter code is passed to the segmenters unchanged, as in the reference."""
    for code in _RELEASED["xlm-mlm-100-1280"]:
        if len(code) == 2:
            assert canonical_lang(code) == code


@pytest.mark.parametrize(
    ("code", "keys", "expected"),
    [
        ("als", ["sq"], "sq"),  # in ISO 639-3
        ("gsw", ["gsw", "als"], "gsw"),
        ("zh-TW", ["zh_Hans", "zh_Hant"], "zh_Hant"),
        ("cmn", ["zh_Hans", "zh_Hant"], "zh_Hans"),
        ("yue", ["zh_Hans", "zh_Hant"], "zh_Hant"),
        ("zho", ["zh", "zh_Hant"], "zh"),
        ("sr", ["sr_Cyrl", "sr_Latn"], "sr_Cyrl"),
        ("sr_Latn_RS", ["sr_Cyrl", "sr_Latn"], "sr_Latn"),
        ("sh", ["sr_Cyrl", "sr_Latn"], None),  # written in both
        ("pt", ["pt_BR", "pt_PT"], "pt_BR"),
        ("pt-AO", ["pt_BR", "pt_PT"], None),
        ("en-GB", ["en_XX"], "en_XX"),
        ("sq", ["als_Latn"], "als_Latn"),
        ("ar", ["arb_Arab"], "arb_Arab"),
        ("ar-Latn", ["arb_Arab"], None),  # the key has another script
        ("apc", ["arb_Arab"], None),  # a sibling of Standard Arabic
        ("no", ["nb"], "nb"),
        ("nn", ["nb"], None),
        ("zh", ["yue"], None),
        ("hr", ["sr"], None),
        ("sh", ["sr"], "sr"),
        ("na", ["na"], "na"),
        ("und", ["und"], "und"),
        ("code_python", ["code_python"], "code_python"),
        ("english", ["English"], "English"),
        ("x" * 100, ["x" * 100], "x" * 100),
    ],
)
def test_languages_of_other_checkpoints(code, keys, expected):
    assert resolve_lang(code, keys) == expected


def test_long_values_take_no_time_and_no_memory():
    """A 120 kB value used to take 12 s, and all values were cached."""
    values = ["en-" * 40_000, "de " * 40_000, "-" * 120_000, " " * 120_000 + "x", "中" * 120_000]
    begin = time.perf_counter()
    assert [resolve_lang(value, ["en", "de"]) for value in values] == [None] * 5
    assert [canonical_lang(value) for value in values] == [None] * 5
    assert [is_missing_lang(value) for value in [*values, " " * 120_000]] == [False] * 5 + [True]
    assert time.perf_counter() - begin < 1


def test_cache_of_codes_is_bounded(checkpoint):
    """All values were cached, also those of a wrong column."""
    tokenizer = XLMTokenizer.from_pretrained(checkpoint)
    size = len(pickle.dumps(tokenizer))
    for i in range(5_000):
        assert tokenizer.resolve_lang(f"A text in the wrong column, number {i}." * 10) is None
        assert tokenizer.resolve_lang(f"en-x-{i}") == "en"
    assert len(pickle.dumps(tokenizer)) - size < 100_000


def test_rows_are_rejected_by_what_is_wrong_with_their_language(run_rows):
    langs = ["zho_Hans", "cmn", "zh", "deu_Latn", "NaN", "", "und", None, "tlh", "no_data"]
    rows = [{"id": str(i), "lang": lang, "text": "我们今天去北京大学。"} for i, lang in enumerate(langs)]
    found = run_rows(rows, ["feature-extraction"], policy__unknown_lang="reject")
    assert list(found) == ["0", "1", "2", "3"]
    assert found["0"]["embedding"] == found["1"]["embedding"] == found["2"]["embedding"] != found["3"]["embedding"]
    details = {row["id"]: (row["reason"], row["detail"]) for row in read_rejected(run_rows.path)}
    assert details == {
        "4": ("null_lang", "column lang contains NaN, which means no language"),
        "5": ("null_lang", "column lang is empty"),
        "6": ("null_lang", "column lang contains und, which means no language"),
        "7": ("null_lang", "column lang is null"),
        "8": ("unknown_lang", "language tlh is not in the checkpoint's lang2id"),
        "9": ("unknown_lang", "language no_data is not in the checkpoint's lang2id"),
    }
    assert {row["id"]: row["lang"] for row in read_rejected(run_rows.path)} == {
        **dict.fromkeys("4567"),  # no language, which is not a language by the name None or NaN
        "8": "tlh",
        "9": "no_data",
    }
    (record,) = run_rows.records
    assert record.rejected_langs == {"tlh": 1, "no_data": 1}
    assert [(counts.lang, counts.rows) for counts in record.langs] == [
        ("zho_Hans", 1),
        ("cmn", 1),
        ("zh", 1),
        ("deu_Latn", 1),
    ]


def test_missing_languages_are_rejected_where_unknown_ones_are_neutral(run_rows):
    rows = [{"id": lang, "lang": lang, "text": "A text."} for lang in ("NaN", "zxx", "tlh", "en")]
    assert list(run_rows(rows, ["feature-extraction"], policy__unknown_lang="neutral")) == ["tlh", "en"]


def test_a_million_spellings_of_a_language_do_not_grow_the_report(run_rows, monkeypatch):
    monkeypatch.setattr(tokenize, "_MAX_LANGS", 3)
    rows = [{"id": str(i), "lang": f"en-x-{i}", "text": "A text."} for i in range(10)]
    run_rows(rows, ["feature-extraction"])
    (record,) = run_rows.records
    assert {counts.lang: counts.rows for counts in record.langs} == {"en-x-0": 1, "en-x-1": 1, "en-x-2": 1, "en": 7}


def test_bytes_that_are_no_text_are_not_a_null_language(checkpoint):
    lang = pa.array([b"en", b"\xff\xfe", None]).view(pa.string())
    settings = InputSettings.model_validate({"path": "x", "text": "text", "lang": "lang"})
    checks = RowChecks(
        settings,
        langs=LangChecks(XLMTokenizer.from_pretrained(checkpoint), settings, PolicySettings()),
        has_choices=False,
        max_chars=100,
    )
    rows = pa.record_batch({ROW: [0, 1, 2], "text": ["a", "b", "c"], "lang": lang})
    assert [row.rejection for row in checks.check(rows)] == [
        None,
        Rejection(RejectionReason.INVALID_UTF8, "column lang: byte 0 of the language is not UTF-8"),
        Rejection(RejectionReason.NULL_LANG, "column lang is null"),
    ]


@pytest.mark.parametrize("policy", ["reject", "neutral"])
@pytest.mark.parametrize("lang", ["nan", "und", " "])
def test_fixed_missing_language_is_refused(lang, policy, checkpoint):
    tokenizer = XLMTokenizer.from_pretrained(checkpoint)
    with pytest.raises(FatalError, match=r"input\.lang: .* means no language, so every row would be rejected"):
        check_fixed_lang(lang, tokenizer, reject_unknown=policy == "reject")


def test_texts_are_not_languages_of_a_checkpoint_without_lang2id(checkpoint, tmp_path):
    """They were accepted, and quoted in the report as languages."""
    for file in ("vocab.json", "merges.txt"):
        (tmp_path / file).write_bytes((checkpoint / file).read_bytes())
    tokenizer = XLMTokenizer.from_pretrained(tmp_path)
    assert not tokenizer.lang2id
    found = [tokenizer.resolve_lang(lang) for lang in ("eng_Latn", "nob", "Good morning.", "nan")]
    assert found == ["en", "no", None, None]
    with pytest.raises(ValueError, match=r"lang: 'Good morning\.' is not a language code; pass None"):
        tokenizer.encode_batch(["Good morning."], ["Good morning."])
    with pytest.raises(FatalError, match=r"input\.lang: 'english' is not a language code, such as de or zh_CN"):
        check_fixed_lang("english", tokenizer, reject_unknown=True)


def test_the_version_of_the_tables_is_part_of_the_fingerprint(make_job):
    version = importlib.metadata.version("langcodes")
    assert prepare_job(make_job()).fingerprint["languages"] == f"langcodes {version}"
