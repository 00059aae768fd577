"""Try the segmenters, each on a sentence."""

from __future__ import annotations

import importlib
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from jobs.doctor.finding import Finding, find_out, package_version
from pipelines.formatting import format_count
from xlm_core.text import Segmenters

if TYPE_CHECKING:
    from collections.abc import Iterator

SECTION = "segmenters"


class _Segmenter(NamedTuple):
    """A segmenter: the package and module of its library, and a sentence to try it on."""

    name: str
    package: str
    module: str
    extra: str | None
    lang: str
    sentence: str
    what: str


_SEGMENTERS = (
    _Segmenter("Moses", "sacremoses", "sacremoses", None, "en", "It works, doesn't it?", "all other languages"),
    _Segmenter("jieba", "jieba", "jieba", None, "zh", "今天天气很好。", "Chinese"),
    _Segmenter("rjieba", "rjieba", "rjieba", "rjieba", "zh", "今天天气很好。", "Chinese, with tokenizer.zh: rjieba"),
    _Segmenter("PyThaiNLP", "pythainlp", "pythainlp", None, "th", "วันนี้อากาศดี", "Thai"),
    _Segmenter(
        "fugashi", "fugashi", "fugashi", "fugashi", "ja", "今日は天気がいい。", "Japanese, with tokenizer.ja: fugashi"
    ),
    _Segmenter(
        "KyTea", "kytea", "Mykytea", "kytea", "ja", "今日は天気がいい。", "Japanese, with tokenizer.kytea_model"
    ),
)


def try_segmenters(kytea_model: str | None) -> Iterator[Finding]:
    """Try each segmenter. KyTea needs the path of a model."""
    for segmenter in _SEGMENTERS:
        needed = segmenter.extra is None
        attempt = partial(_segment, segmenter, kytea_model)
        yield find_out(SECTION, segmenter.name, attempt, extra=segmenter.extra, needed=needed)


def _segment(segmenter: _Segmenter, kytea_model: str | None) -> str:
    importlib.import_module(segmenter.module)
    choice: dict[str, Any] = {segmenter.lang: segmenter.name.lower()} if segmenter.lang in ("zh", "ja") else {}
    words = Segmenters(**choice, kytea_model=kytea_model).segment(segmenter.sentence, segmenter.lang).words
    if len(words) < 2:
        raise ValueError(f"{segmenter.package} does not split a sentence into words")
    version = f"{segmenter.package} {package_version(segmenter.package)}"
    return f"{segmenter.what}; {version}, {format_count(len(words), 'word')} in a sentence"
