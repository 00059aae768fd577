"""Resolve language codes to the languages of a checkpoint.

The tables are those of `langcodes`: the ISO 639-2 codes, CLDR's aliases and likely subtags, and the macrolanguages of
the IANA registry, which are those of ISO 639-3. Babel has CLDR's data too, but no macrolanguages. The tables are read
directly, because `langcodes.Language` caches every tag that it parses without a limit.
"""

from __future__ import annotations

import importlib.metadata
import re
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple, cast

from langcodes.data_dicts import (
    LANGUAGE_REPLACEMENTS,
    LIKELY_SUBTAGS,
    MACROLANGUAGES,
    NORMALIZED_MACROLANGUAGES,
    TERRITORY_REPLACEMENTS,
    VALIDITY,
)
from langcodes.tag_parser import LanguageTagError, parse_tag

if TYPE_CHECKING:
    from collections.abc import Collection

# Texts that pandas reads as null, and therefore also how nulls look after a conversion to text.
_NULL_TEXTS = {"", "nan", "-nan", "none", "null", "<na>", "n/a", "#n/a", "#na", "1.#ind", "-1.#ind", "1.#qnan"}

# ISO 639: undetermined, multiple languages, no linguistic content.
_NO_LANGUAGE = {"mul", "und", "zxx"}

# Codes of Wikipedia editions that are not BCP 47 tags, as MediaWiki maps them (languages/LanguageCode.php).
_WIKIPEDIA = {
    "bat-smg": "sgs", "cbk-zam": "cbk", "fiu-vro": "vro", "map-bms": "jv", "roa-rup": "rup", "roa-tara": "nap",
    "simple": "en-simple", "sr-ec": "sr-cyrl", "sr-el": "sr-latn", "zh-classical": "lzh",
}  # fmt: skip

# Checkpoints name their languages by Wikipedia edition: `als` is Alemannic, while in ISO 639-3 it is Tosk Albanian.
_WIKIPEDIA_KEYS = _WIKIPEDIA | {"als": "gsw"}

# CLDR replaces `sh` by Serbian in Latin script, and Tagalog by Filipino; XLM's checkpoints have `sh` and `tl`.
_KEPT = {"sh": "sh", "hbs": "sh", "tl": "tl", "tgl": "tl", "fil": "tl"}

# Common mistakes, where ISO 639-1 has not assigned the code to another language.
_MISTAKES = {"cz": "cs", "gr": "el", "jp": "ja"}

# Simple English is English, which matters for checkpoints without the language `simple`.
_SIMPLE = "simple"
_MACROLANGUAGES: dict[str, str] = MACROLANGUAGES | {_SIMPLE: "en"}

# The member of a macrolanguage that is meant by its code: Mandarin by `zh`, Standard Arabic by `ar`. `langcodes` does
# not have the two that CLDR expresses in other ways.
_SAME_AS_MACROLANGUAGE: dict[str, str] = NORMALIZED_MACROLANGUAGES | {"nb": "no"}
_MAIN_MEMBER = {macro: member for member, macro in _SAME_AS_MACROLANGUAGE.items()} | {"sh": "sr"}

# Longer values are no codes. BCP 47 recommends to support 35 characters.
_MAX_LENGTH = 64

# An encoding needs a territory: `no.data` is no locale.
_POSIX_LOCALE = re.compile(r"([a-z]{2,3}(?:_[a-z]{2})?)(?:(?<=_..)\.[a-z0-9-]+)?(?:@[a-z]+)?")


class _Tag(NamedTuple):
    """What a code says: a language as a canonical subtag, a script and a territory."""

    language: str
    script: str | None = None
    territory: str | None = None


def resolve_lang(lang: str, known: Collection[str]) -> str | None:
    """Find the checkpoint's key for a language code in the data.

    The first of these that applies decides:

    1. A missing language (`is_missing_lang`) has no key. `und`, `mul` and `zxx` do if the checkpoint has them as keys.
       `nan` never means Min Nan, which is written `zh_min_nan`, or with a script, as in `nan_Hant`.
    2. The code is a key, unchanged, or else regardless of case and of `_` or `-`. In the 100-language checkpoint,
       `als` is therefore Alemannic.
    3. The code is parsed as a BCP 47 tag, and its language replaced by CLDR's form of it: ISO 639-2 and 639-3 codes by
       639-1 (`deu` and `ger` are `de`), retired codes by their successors (`iw` is `he`, `mo` is `ro`, `scc` is `sr`),
       members of macrolanguages by their own code (`zh-gan` is `gan`, `no-nn` is `nn`), and `prs` by `fa`. Codes of
       Wikipedia editions (`zh_classical`, `simple`), POSIX locales (`sr_RS@latin`) and `cz`, `gr` and `jp` are
       understood as well. Keys are read in the same way, but `als` as Alemannic (`gsw`): with a script, as in FLORES,
       `als_Latn` is Albanian. A tag with a script, variant or territory that does not exist is no code: `no_data` is
       not Norwegian, and `de-en`, which means a pair of languages, is not German. `en_XX`, `en_EN` and `en_UK` are
       English.
    4. The key of that language is chosen. Script and region do not matter (`sr-Latn` is `sr`, `zh-Hant-TW` is `zh`),
       except between several keys of one language, or for a key with a script. Then CLDR's likely subtags decide:
       `zh-TW` is `zh_Hant`. If they do not, there is no key.
    5. A member of a macrolanguage of ISO 639-3 has the key of the macrolanguage: `cmn`, `yue` or `gan` is `zh`, `apc`
       or `arz` is `ar`, `nb` or `nn` is `no`, `ckb` is `ku`, `id` is `ms`, `hr` is `sh`, and `als` is `sq`. This holds
       only if the checkpoint does not have the language itself. `simple` is `en`.
    6. A macrolanguage has the key of its main member: `zh` is `cmn`, `no` is `nb`, and `sh` is `sr`.

    A code never falls to another language in any other way: `nds`, `bar` and `sco` are not in a checkpoint with `de`
    and `en` only. `kr` is Kanuri, not Korean.

    Args:
        lang: a value of the language column, of any length.
        known: the keys of the checkpoint's `lang2id`.

    Returns:
        A key of `known`, or None if the language is not among them. Languages are never detected from texts.
    """
    if len(lang) > _MAX_LENGTH:
        return lang if lang in known else None
    return _keys(tuple(known)).find(lang)


def canonical_lang(lang: str) -> str | None:
    """Return the code that selects a segmenter if there is no checkpoint to look it up in, or None if it is no code.

    It is the language of step 3 of `resolve_lang`, or the macrolanguage of which it is the main member: `zh-Hans` and
    `cmn` give `zh`, `deu` gives `de`, `nb` gives `no`. Other members are left as they are, as in the reference, which
    segments `wuu` and `yue` by Moses.
    """
    if len(lang) > _MAX_LENGTH or is_missing_lang(lang):
        return None
    tag = _parse(_normalize(lang), _WIKIPEDIA)
    return tag and _SAME_AS_MACROLANGUAGE.get(tag.language, tag.language)


def is_missing_lang(lang: str) -> bool:
    """Return whether a value says that there is no language.

    White space does, a null that was converted to text (`nan`, `None`, `NULL`, `N/A`), and the codes `und`, `mul` and
    `zxx`, also with a script (`und-Latn`). `NA` does, but `na` is Nauru.
    """
    if len(lang) > _MAX_LENGTH:
        return lang.isspace()
    code = _normalize(lang)
    if lang.strip() == "NA" or code in _NULL_TEXTS:
        return True
    tag = _parse(code, _WIKIPEDIA)
    return tag is not None and tag.language in _NO_LANGUAGE


def language_tables() -> str:
    """Return the library of the tables and its version. Another version can resolve a code to another language."""
    return f"langcodes {importlib.metadata.version('langcodes')}"


class _Keys:
    """The keys of a checkpoint, by their form regardless of case and by language."""

    def __init__(self, keys: Collection[str]):
        self.exact = frozenset(keys)
        self.normalized: dict[str, str] = {}
        self.by_language: dict[str, list[tuple[_Tag, str]]] = {}
        for key in keys:
            code = _normalize(key)
            self.normalized.setdefault(code, key)
            if (tag := _parse(code, _WIKIPEDIA_KEYS)) is not None:
                self.by_language.setdefault(tag.language, []).append((tag, key))

    def find(self, lang: str) -> str | None:
        code = _normalize(lang)
        if is_missing_lang(lang) and (code not in _NO_LANGUAGE or code not in self.normalized):
            return None
        if lang in self.exact or code in self.normalized:
            return lang if lang in self.exact else self.normalized[code]
        tag = _parse(code, _WIKIPEDIA)
        if tag is None:
            return None
        for related in (tag.language, _MACROLANGUAGES.get(tag.language), _MAIN_MEMBER.get(tag.language)):
            if related in self.by_language:
                return _closest(tag, self.by_language[related])
        return None


@lru_cache(maxsize=16)
def _keys(known: tuple[str, ...]) -> _Keys:
    return _Keys(known)


def _normalize(code: str) -> str:
    return code.strip().lower().replace("_", "-")


def _parse(code: str, names: dict[str, str]) -> _Tag | None:
    """Parse a normalized code.

    Args:
        code: in lower case, with `-`.
        names: codes that are not BCP 47 tags, with the tags that they stand for.

    Returns:
        None if it is not a tag, or has a script, variant, territory or extended language that does not exist.
        Languages need not exist.
    """
    if locale := _POSIX_LOCALE.fullmatch(code.replace("-", "_", 1)):
        code = locale[1].replace("_", "-")
    subtags = names.get(code, code).split("-")
    # Tags that CLDR replaces as a whole, such as `zh-min-nan` or `zh-yue`.
    for length in (3, 2):
        prefix = "-".join(subtags[:length])
        if prefix in LANGUAGE_REPLACEMENTS and len(subtags) >= length:
            subtags = [*LANGUAGE_REPLACEMENTS[prefix].partition("-x-")[0].split("-"), *subtags[length:]]
    try:
        parts = cast("list[tuple[str, str]]", parse_tag("-".join(subtags)))
    except LanguageTagError:
        return None
    language = ""
    found: dict[str, str] = {}
    for kind, value in parts:
        if kind == "language" and 2 <= len(value) <= 3 and value.isalpha():
            language = _canonical(value)
        elif kind == "variant" and (language, value) == ("en", _SIMPLE):
            language = _SIMPLE
        elif kind in ("script", "variant", "territory") and _exists(value, subtags[0]):
            found[kind] = value
        elif kind in ("extlang", "territory") and _MACROLANGUAGES.get(member := _canonical(value.lower())) == language:
            language = member
        elif kind not in ("extension", "private"):
            return None
    return _Tag(language, found.get("script"), found.get("territory")) if language else None


def _exists(subtag: str, language: str) -> bool:
    """Return whether a script, variant or territory exists, as `UK` does, or repeats the language, as in `en_EN`."""
    return bool(VALIDITY.match(subtag)) or subtag.lower() in TERRITORY_REPLACEMENTS or subtag.lower() == language


def _canonical(language: str) -> str:
    """Replace a language subtag by CLDR's form of it, without the script or territory that CLDR may add."""
    while language not in _KEPT:
        replacement = _MISTAKES.get(language) or LANGUAGE_REPLACEMENTS.get(language, language).partition("-")[0]
        if replacement == language:
            return language
        language = replacement
    return _KEPT[language]


def _closest(tag: _Tag, keys: list[tuple[_Tag, str]]) -> str | None:
    """Choose between the keys of one language by script and territory."""
    likely = _maximize(tag)
    same = [key for other, key in keys if other[1:] == tag[1:]]
    fitting = [(other, key) for other, key in keys if other.script in (None, likely.script) or likely.script is None]
    in_territory = [key for other, key in fitting if other.territory == likely.territory]
    anywhere = [key for other, key in fitting if other.territory is None]
    candidates = same or in_territory or anywhere or [key for _, key in fitting]
    return candidates[0] if len(candidates) == 1 else None


def _maximize(tag: _Tag) -> _Tag:
    """Add the script and the territory that are most likely according to CLDR."""
    _, script, territory = tag
    language = _SAME_AS_MACROLANGUAGE.get(tag.language, tag.language)
    for given in ([script, territory], [territory], [script], []):
        subtags = [language, *(subtag for subtag in given if subtag)]
        if likely := LIKELY_SUBTAGS.get("-".join(subtags)):
            _, likely_script, likely_territory = likely.split("-")
            return _Tag(language, script or likely_script, territory or likely_territory)
    return tag
