"""Cut a text into words, by the rules of its language.

Chinese goes to jieba, Japanese to KyTea, Thai to PyThaiNLP, every other language to Moses; these are the choices the
released checkpoints were trained with, or their nearest kin. Each segmenter is the library's own; what is ours is
that every word knows where it stands in the normalised text.
"""

from __future__ import annotations

import importlib.metadata
import logging
import re
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast

from sacremoses import MosesTokenizer

from xlm_core.errors import TokenizerError
from xlm_core.text.aligned import AlignedText
from xlm_core.text.normalize import CONTROL_WHITESPACE, ROMANIAN, normalize_punctuation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Compat = Literal["default", "reference"]


class Words(NamedTuple):
    """The words of a text, in order, and the place of each one's first character in the normalised text."""

    aligned: AlignedText
    words: list[str]
    places: list[int]


class Segmenters:
    """Word segmentation for every language, each segmenter built when its first text arrives.

    Args:
        zh: "jieba", or "rjieba" (what the reference calls now; 1 to 2 % of sentences differ).
        ja: "kytea" with a model file, or "fugashi" with the unidic-lite dictionary.
        kytea_model: path of a KyTea model; the PyPI package brings none.
        compat: "reference" deletes tabs and line breaks as the reference does, which glues the words around them;
            "default" reads them as spaces.
    """

    def __init__(
        self,
        zh: Literal["jieba", "rjieba"] = "jieba",
        ja: Literal["kytea", "fugashi"] = "kytea",
        kytea_model: str | Path | None = None,
        compat: Compat = "default",
    ):
        self.zh, self.ja, self.compat = zh, ja, compat
        self.kytea_model = str(kytea_model) if kytea_model is not None else None
        self._cuts: dict[str, Callable[[str], list[str]]] = {}

    def __getstate__(self) -> dict[str, Any]:
        # an object that holds a KyTea or MeCab model cannot be pickled: each process builds its own
        return self.__dict__ | {"_cuts": {}}

    def describe(self, langs: set[str]) -> dict[str, str]:
        """Name what cuts the given languages, with versions: part of what makes two results comparable."""
        libraries = {"moses": "sacremoses"}
        if "zh" in langs:
            libraries["zh"] = self.zh
        if "th" in langs:
            libraries["th"] = "pythainlp"
        if "ja" in langs:
            libraries["ja"] = self.ja
        return {part: f"{name} {_version(name)}" for part, name in libraries.items()}

    def prepare(self, lang: str) -> None:
        """Build what `lang` needs.

        Raises:
            TokenizerError: its library or its model is not there; the message says what to do.
        """
        if lang in _BUILDERS:
            self._cut(lang)

    def segment(self, text: str, lang: str | None) -> Words:
        """Cut one text.

        Args:
            text: any string.
            lang: a language code of the checkpoint; None for a language nobody knows, which is cut by Moses' rules
                that hold for all, without any language's abbreviations.
        """
        if self.compat == "default":
            text = text.translate(CONTROL_WHITESPACE)
        aligned = AlignedText(text)
        if lang == "zh":
            aligned.insert_spaces(_inner_borders(self._cut("zh")(text)))
            normalize_punctuation(aligned, "zh")
            words = aligned.text.split()
        elif lang in ("th", "ja"):
            normalize_punctuation(aligned, lang)
            words = self._cut(lang)(aligned.text)
        else:
            normalize_punctuation(aligned, lang or NEUTRAL)
            if lang == "ro":
                aligned.translate(ROMANIAN)
            words = cast("list[str]", _moses(lang or NEUTRAL).tokenize(aligned.text, escape=False))
            # Moses marks runs of dots with letters and turns the marks back at its end, also those a text came with
            aligned.sub(_Moses.MULTIDOT_MARKER, _unmark_dots)
        return Words(aligned, words, list(_places(aligned.text, words)))

    @staticmethod
    def split(text: str, lang: str | None = None) -> Words:
        """Cut at white space alone, whatever the language: for texts that were cut before."""
        words = text.split()
        return Words(AlignedText(text), words, list(_places(text, words)))

    def _cut(self, lang: str) -> Callable[[str], list[str]]:
        if lang not in self._cuts:
            self._cuts[lang] = _BUILDERS[lang](self)
        return self._cuts[lang]

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
        return lambda text: [word for part in _bounded(text, _JIEBA_CHARS) for word in jieba.cut(part)]

    def _build_th(self) -> Callable[[str], list[str]]:
        from pythainlp.tokenize import word_tokenize

        # joining broken numbers takes time in the square of a run of digits; without one there is nothing to join
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
            return lambda text: [word.surface for part in _bounded(text, _MECAB_CHARS) for word in tagger(part)]
        if self.kytea_model is None:
            raise TokenizerError(
                "Japanese text needs a KyTea model, and none is configured: set tokenizer.kytea_model to a model "
                "file, or tokenizer.ja to fugashi, which brings its dictionary"
            )
        model = Path(self.kytea_model)
        if not model.is_file():
            raise TokenizerError(f"{model}: no KyTea model here; correct tokenizer.kytea_model")
        with model.open("rb") as file:
            if not file.read(6).startswith(b"KyTea "):
                raise TokenizerError(f"{model}: not a KyTea model; correct tokenizer.kytea_model")
        try:
            import Mykytea
        except ImportError:
            raise _missing("kytea", "Japanese with tokenizer.ja: kytea", "kytea") from None
        if any(c.isspace() for c in str(model)):
            raise TokenizerError(f"{model}: KyTea reads no path with spaces; give its model another name")
        try:
            kytea = Mykytea.Mykytea(f"-model {model}")
        except RuntimeError as error:
            raise TokenizerError(
                f"{model}: KyTea cannot read this model ({error}); correct tokenizer.kytea_model"
            ) from None
        return lambda text: list(kytea.getWS(text))


_BUILDERS = {"zh": Segmenters._build_zh, "th": Segmenters._build_th, "ja": Segmenters._build_ja}  # pyright: ignore[reportPrivateUsage]

NEUTRAL = "und"  # ISO 639: undetermined

_BROKEN_NUMBER = re.compile(r"\d[.,:]\d")

# Texts that a segmenter cannot take whole are parted, where a sentence or at least a word ends as far as there is one.
_MECAB_CHARS = 20_000  # its costs add up to more than it counts, and the process dies; seen at ten times as many
_JIEBA_CHARS = 10_000  # its time grows with the square of a run of one character: 67 s at twenty times as many


class _Moses(MosesTokenizer):
    """sacremoses' tokenizer, with its character tests as sets: the same words in two thirds of the time."""

    _LOWER = frozenset(MosesTokenizer.IsLower)

    # with what follows left open, a run of DOT that is no mark is looked at once, not once from each of its letters
    MULTIDOT_MARKER = re.compile(r"(?:DOT)+(?:MULTI)?")

    def __init__(self, lang: str):
        super().__init__(lang=lang)
        self._alpha = frozenset(self.IsAlpha)
        if lang == NEUTRAL:
            self.NONBREAKING_PREFIXES = []
            self.NUMERIC_ONLY_PREFIXES = []

    def restore_multidots(self, text: str) -> str:
        return self.MULTIDOT_MARKER.sub(_unmark_dots, text)

    def islower(self, text: str) -> bool:
        return self._LOWER.issuperset(text)

    def isanyalpha(self, text: str) -> bool:
        return not self._alpha.isdisjoint(text)


@lru_cache(maxsize=256)
def _moses(lang: str) -> _Moses:
    return _Moses(lang)


def _unmark_dots(match: re.Match[str]) -> str:
    mark = match.group()
    return "." * (len(mark.removesuffix("MULTI")) // len("DOT")) if mark.endswith("MULTI") else mark


def _bounded(text: str, max_chars: int) -> Iterator[str]:
    """Part a text that is longer than a segmenter can take."""
    begin = 0
    while len(text) - begin > max_chars:
        window = text[begin : begin + max_chars]
        cut = max(window.rfind("。"), window.rfind(" ")) + 1
        yield window[: cut or max_chars]
        begin += cut or max_chars
    yield text[begin:]


def _inner_borders(words: list[str]) -> Iterator[int]:
    place = 0
    for word in words[:-1]:
        place += len(word)
        yield place


def _places(text: str, words: list[str]) -> Iterator[int]:
    """Find each word in the text, one after the other; only white space may lie between them.

    A segmenter that changed a character leaves a word that is nowhere to be found; it stands where the search was.
    """
    place = 0
    for word in words:
        found = text.find(word, place)
        if found > place and not text[place:found].isspace():
            found = -1
        if found < 0:
            found = place
        yield found
        place = min(found + len(word), len(text))


def _version(library: str) -> str:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return "absent"


def _missing(package: str, what: str, extra: str) -> TokenizerError:
    return TokenizerError(f"{what} needs {package}, which is not installed: pip install 'xlm-batch[{extra}]'")
