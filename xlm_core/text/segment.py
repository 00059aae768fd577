"""Segment a text into words by the rules of its language.

Chinese is segmented by jieba, Japanese by KyTea, Thai by PyThaiNLP and every other language by Moses, as for the
training of the released checkpoints or as close to it as possible. The segmenters are third-party libraries; this
module adds the offset of each word in the normalized text.
"""

from __future__ import annotations

import importlib.metadata
import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from xlm_core.errors import TokenizerError, check_choice
from xlm_core.text.aligned import AlignedText
from xlm_core.text.composition import compose
from xlm_core.text.moses import NEUTRAL, load_moses
from xlm_core.text.normalize import CONTROL_WHITESPACE, ROMANIAN, normalize_punctuation
from xlm_core.text.words import SegmentedText

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ChineseSegmenter = Literal["jieba", "rjieba"]
JapaneseSegmenter = Literal["kytea", "fugashi"]
Compat = Literal["default", "reference"]


class Segmenters:
    """Word segmentation for all languages. Each segmenter is built when it is first used.

    Args:
        zh: "jieba", or "rjieba" (used by the current reference; 1 to 2 % of sentences differ).
        ja: "kytea" with a model file, or "fugashi" with the unidic-lite dictionary.
        kytea_model: path of a KyTea model; the PyPI package includes none.
        compat: "reference" deletes tabs and line breaks, which joins the words around them, and leaves decomposed
            characters as they are, as the reference does; "default" replaces tabs and line breaks by spaces, and
            normalizes texts to NFC.

    Raises:
        ValueError: an option has another value.
    """

    def __init__(
        self,
        zh: ChineseSegmenter = "jieba",
        ja: JapaneseSegmenter = "kytea",
        kytea_model: str | Path | None = None,
        compat: Compat = "default",
    ):
        check_choice("zh", zh, ChineseSegmenter)
        check_choice("ja", ja, JapaneseSegmenter)
        check_choice("compat", compat, Compat)
        self.zh, self.ja, self.compat = zh, ja, compat
        self.kytea_model = str(kytea_model) if kytea_model is not None else None
        self._segmenters: dict[str, Callable[[str], list[str]]] = {}

    def __getstate__(self) -> dict[str, Any]:
        # KyTea and MeCab models cannot be pickled: each process builds its own.
        return self.__dict__ | {"_segmenters": {}}

    def describe(self, langs: set[str]) -> dict[str, str]:
        """Return the libraries and versions used for the given languages. Other versions can give other words.

        All but KyTea and fugashi include their dictionary or model.
        """
        libraries = {"moses": ["sacremoses"]}
        if "zh" in langs:
            libraries["zh"] = [self.zh]
        if "th" in langs:
            libraries["th"] = ["pythainlp"]
        if "ja" in langs:
            libraries["ja"] = ["fugashi", "unidic-lite"] if self.ja == "fugashi" else [self.ja]
        return {part: ", ".join(f"{name} {_version(name)}" for name in names) for part, names in libraries.items()}

    def needs_setup(self, lang: str) -> bool:
        """Return whether the segmenter of a language is an optional library or needs a model."""
        return lang == "ja" or (lang == "zh" and self.zh == "rjieba")

    def prepare(self, lang: str) -> None:
        """Build the segmenter of a language.

        Raises:
            TokenizerError: its library is not installed, or its model is missing.
        """
        if lang in _BUILDERS:
            self._segmenter(lang)

    def segment(self, text: str, lang: str | None) -> SegmentedText:
        """Normalize and segment one text.

        Args:
            text: any string.
            lang: a language code of the checkpoint; None for an unknown language, to which Moses' language-neutral
                rules are applied, without a list of abbreviations.
        """
        aligned = AlignedText(text)
        if self.compat == "default":
            aligned.translate(CONTROL_WHITESPACE)
            compose(aligned)
        if lang == "zh":
            aligned.insert_spaces(_inner_offsets(self.cut(aligned.text, "zh")))
            normalize_punctuation(aligned, "zh")
            words = aligned.text.split()
        elif lang in ("th", "ja"):
            normalize_punctuation(aligned, lang)
            words = self.cut(aligned.text, lang)
        else:
            normalize_punctuation(aligned, lang or NEUTRAL)
            if lang == "ro":
                aligned.translate(ROMANIAN)
            moses = load_moses(lang or NEUTRAL)
            words = moses.words(aligned.text)
            # Moses encodes runs of dots as letters (DOTMULTI) and decodes them in its result, including any in the
            # input: decode those in the aligned text too.
            aligned.sub(moses.MULTIDOT_MARKER, moses.unmark_dots)
        return SegmentedText(aligned, words, list(_find_words(aligned.text, words)))

    def cut(self, text: str, lang: str) -> list[str]:
        """Return the words of a text by the segmenter of a language alone, without any other rules."""
        return self._segmenter(lang)(text)

    @staticmethod
    def split(text: str, lang: str | None = None) -> SegmentedText:
        """Split a text of any language at white space only, for texts that are already segmented."""
        words = text.split()
        return SegmentedText(AlignedText(text), words, list(_find_words(text, words)))

    def _segmenter(self, lang: str) -> Callable[[str], list[str]]:
        if lang not in self._segmenters:
            self._segmenters[lang] = _BUILDERS[lang](self)
        return self._segmenters[lang]

    def _build_zh(self) -> Callable[[str], list[str]]:
        if self.zh == "rjieba":
            try:
                import rjieba
            except ImportError:
                raise _missing("rjieba", "Chinese with tokenizer.zh: rjieba", "rjieba") from None
            return rjieba.cut
        import jieba

        jieba.setLogLevel(logging.ERROR)
        jieba.initialize()
        return lambda text: [word for part in _split_long(text, _JIEBA_CHARS) for word in jieba.cut(part)]

    def _build_th(self) -> Callable[[str], list[str]]:
        from pythainlp.tokenize import word_tokenize

        # Joining broken numbers takes quadratic time in the length of a run of digits: skip it if there is nothing to
        # join.
        return lambda text: word_tokenize(text, join_broken_num=_BROKEN_NUMBER.search(text) is not None)

    def _build_ja(self) -> Callable[[str], list[str]]:
        if self.ja == "fugashi":
            try:
                import fugashi
                import unidic_lite
            except ImportError:
                raise _missing("fugashi", "Japanese with tokenizer.ja: fugashi", "fugashi") from None
            tagger = fugashi.Tagger(  # pyright: ignore[reportAttributeAccessIssue]
                f'-Owakati -d "{unidic_lite.DICDIR}"'
            )
            return lambda text: [word.surface for part in _split_long(text, _MECAB_CHARS) for word in tagger(part)]
        if self.kytea_model is None:
            raise TokenizerError(
                "Japanese text needs a KyTea model, and none is configured; set tokenizer.kytea_model to a model "
                "file, or tokenizer.ja to fugashi, which includes a dictionary"
            )
        model = Path(self.kytea_model)
        if not model.is_file():
            raise TokenizerError(f"{model}: no such KyTea model; correct tokenizer.kytea_model")
        with model.open("rb") as file:
            if not file.read(6).startswith(b"KyTea "):
                raise TokenizerError(f"{model}: not a KyTea model; correct tokenizer.kytea_model")
        try:
            import Mykytea
        except ImportError:
            raise _missing("kytea", "Japanese with tokenizer.ja: kytea", "kytea") from None
        if any(c.isspace() for c in str(model)):
            raise TokenizerError(f"{model}: KyTea cannot read a path with spaces; rename the model file")
        try:
            kytea = Mykytea.Mykytea(f"-model {model}")
        except RuntimeError as error:
            raise TokenizerError(
                f"{model}: KyTea cannot read this model ({error}); correct tokenizer.kytea_model"
            ) from None
        return lambda text: list(kytea.getWS(text))


_BUILDERS = {"zh": Segmenters._build_zh, "th": Segmenters._build_th, "ja": Segmenters._build_ja}  # pyright: ignore[reportPrivateUsage]
SEGMENTED_LANGS = frozenset(_BUILDERS)  # all others are segmented by Moses

_BROKEN_NUMBER = re.compile(r"\d[.,:]\d")

# Longer texts are split before segmentation, at the end of a sentence or a word if there is one.
_MECAB_CHARS = 20_000  # MeCab's costs overflow and the process crashes; observed at ten times as many characters
_JIEBA_CHARS = 10_000  # jieba takes quadratic time on a run of one character: 67 s for twenty times as many


def _split_long(text: str, max_chars: int) -> Iterator[str]:
    """Split a text into parts of at most `max_chars`, at the end of a sentence or a word where possible."""
    begin = 0
    while len(text) - begin > max_chars:
        window = text[begin : begin + max_chars]
        cut = max(window.rfind("。"), window.rfind(" ")) + 1
        yield window[: cut or max_chars]
        begin += cut or max_chars
    yield text[begin:]


def _inner_offsets(words: list[str]) -> Iterator[int]:
    """Yield the offset of each word but the first, for words without gaps."""
    offset = 0
    for word in words[:-1]:
        offset += len(word)
        yield offset


def _find_words(text: str, words: list[str]) -> Iterator[int]:
    """Find the offset of each word in the text. Only white space may separate two words.

    A word that is not found, because its segmenter changed a character, gets the offset at which the search began.
    """
    offset = 0
    for word in words:
        found = text.find(word, offset)
        if found > offset and not text[offset:found].isspace():
            found = -1
        if found < 0:
            found = offset
        yield found
        offset = min(found + len(word), len(text))


def _version(library: str) -> str:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return "absent"


def _missing(package: str, what: str, extra: str) -> TokenizerError:
    return TokenizerError(f"{what} needs {package}, which is not installed; pip install 'xlm-batch[{extra}]'")
