"""The texts and languages of a call: lists, tuples, and arrays or columns of any library, without importing it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, cast

from xlm_core.errors import format_list, shown_lang
from xlm_core.languages import is_missing_lang

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from xlm_core.tokenizer import PackedTokenizer

Text: TypeAlias = "str | Sequence[str]"
"""A text, or its words."""


class Texts(Protocol):
    """A list, tuple, NumPy array, pandas or Polars Series, or Arrow array of texts, or of lists of words."""

    def __iter__(self) -> Iterator[Any]: ...

    def __contains__(self, item: object, /) -> bool: ...  # strings contain only strings, so none is `Texts`


_MAX_POSITIONS = 5  # in a message
_TO_LIST = ("to_pylist", "to_list", "tolist")  # Arrow; pandas and Polars; NumPy
_PANDAS_NULLS = ("NAType", "NaTType")  # names, because pandas is not imported


@dataclass(frozen=True)
class Inputs:
    """The texts of a call.

    Attributes:
        texts: for each row, the texts of each of its sequences: one text, or a pair.
        langs: for each row, the checkpoint's code of its language; None for none.
        is_single: whether the caller passed one text, and gets one result.
    """

    texts: list[list[tuple[Text, ...]]]
    langs: list[str | None]
    is_single: bool


def read_texts(name: str, values: str | Texts) -> list[Text]:
    """Return the texts of an argument as strings and lists of strings.

    Args:
        name: the argument's name, for messages.
        values: one text, or many.

    Raises:
        TypeError: the argument or one of its items is no text.
        ValueError: texts are missing or empty. The message has their positions, from 0.
    """
    items = [values] if isinstance(values, str) else _items(name, values)
    texts = [_read_text(name, i, item) for i, item in enumerate(items)]
    refuse(name, [i for i, text in enumerate(texts) if text is None], "missing (None or NaN)", "drop them")
    found = cast("list[Text]", texts)
    empty = [i for i, text in enumerate(found) if not join_words(text).strip()]
    refuse(name, empty, "empty", "drop them")
    return found


def read_langs(tokenizer: PackedTokenizer, lang: str | Texts, num_texts: int, *, neutral: bool) -> list[str | None]:
    """Return the checkpoint's code for the language of each text.

    Args:
        tokenizer: resolves language codes.
        lang: one language code for all texts, or one for each.
        num_texts: number of texts.
        neutral: whether texts of an unknown language have none (None), and are no error.

    Raises:
        TypeError: a language is no string.
        ValueError: languages are missing, unknown, or not as many as texts.
    """
    codes: list[Any] = [lang] if isinstance(lang, str) else _items("lang", lang)
    if not isinstance(lang, str) and len(codes) != num_texts:
        raise ValueError(f"lang: got {len(codes)}, expected one for all texts, or {num_texts}, one for each text")
    found: list[str | None] = []
    missing: list[int] = []
    unknown: list[int] = []
    for i, code in enumerate(codes):
        if _is_null(code):
            missing.append(i)
            continue
        if not isinstance(code, str):
            raise TypeError(f"lang: got {type(code).__name__} at position {i}, expected a language code such as de")
        found.append(tokenizer.resolve_lang(code))
        if found[-1] is None:
            (missing if is_missing_lang(code) else unknown).append(i)
    refuse("lang", missing, "missing", "pass the language of each text")
    if unknown and not neutral:
        known = ", ".join(sorted(tokenizer.lang2id))
        problem = f"not in the checkpoint's lang2id; its languages are {known}" if known else "no language code"
        names = format_list(list(dict.fromkeys(shown_lang(codes[i]) for i in unknown)), _MAX_POSITIONS)
        raise ValueError(
            f'lang: language {names} is {problem}; correct it, or load the model with unknown_lang="neutral" to run '
            "such texts without a language"
        )
    return found * num_texts if isinstance(lang, str) else found


def are_words(texts: Sequence[Text]) -> bool:
    """Return whether texts are lists of words.

    Raises:
        TypeError: some are, and some are not.
    """
    kinds = {isinstance(text, str) for text in texts}
    if len(kinds) > 1:
        raise TypeError("texts: got strings and lists of words, expected only one of them")
    return False in kinds


def join_words(text: Text) -> str:
    """Return the text to which character offsets refer: a string unchanged, or words joined by spaces."""
    return text if isinstance(text, str) else " ".join(text)


def refuse(name: str, positions: Sequence[int], problem: str, advice: str) -> None:
    """Refuse the texts at some positions, if there are any.

    Raises:
        ValueError: the message has the first positions.
    """
    if positions:
        where = format_list([str(i) for i in positions], _MAX_POSITIONS)
        raise ValueError(f"{name}: {problem} at position{'s' if len(positions) > 1 else ''} {where}; {advice}")


def _items(name: str, values: Any) -> list[Any]:
    """Return the items of a list, an array, a column or an iterator."""
    if isinstance(values, dict | set | frozenset | bytes) or hasattr(values, "columns"):
        advice = "; pass one of its columns" if hasattr(values, "columns") else ""
        raise TypeError(f"{name}: got {type(values).__name__}, expected a text, or a list or column of texts{advice}")
    to_list = next((getattr(values, method) for method in _TO_LIST if callable(getattr(values, method, None))), None)
    try:
        items = list(values) if to_list is None else to_list()
    except TypeError:
        items = None
    if not isinstance(items, list):
        raise TypeError(f"{name}: got {type(values).__name__}, expected a text, or a list or column of texts")
    return cast("list[Any]", items)


def _read_text(name: str, position: int, item: Any) -> Text | None:
    if isinstance(item, str):
        return str(item)  # NumPy's strings are a subclass
    if _is_null(item):
        return None
    if not isinstance(item, list | tuple) and callable(getattr(item, "tolist", None)):
        item = item.tolist()
    words = cast("Sequence[Any]", item)
    if isinstance(item, list | tuple) and all(isinstance(word, str) for word in words):
        return [str(word) for word in words]
    raise TypeError(f"{name}: got {type(item).__name__} at position {position}, expected a string, or a list of words")


def _is_null(item: Any) -> bool:
    return item is None or (isinstance(item, float) and item != item) or type(item).__name__ in _PANDAS_NULLS
