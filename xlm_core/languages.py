"""Resolve language codes to the languages of a checkpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

# Other codes of the same language: retired ISO 639-1 codes, ISO 639-2 and 639-3 codes, and the codes of Wikipedia
# editions, which the 100-language checkpoints use.
ALIASES: dict[str, tuple[str, ...]] = {
    "ar": ("ara", "arb"), "bg": ("bul",), "bn": ("ben",), "ca": ("cat",), "cs": ("ces", "cze", "cz"),
    "da": ("dan",), "de": ("deu", "ger"), "el": ("ell", "gre", "gr"), "en": ("eng",), "es": ("spa",),
    "et": ("est", "ekk"), "eu": ("eus", "baq"), "fa": ("fas", "per", "pes"), "fi": ("fin",), "fr": ("fra", "fre"),
    "ga": ("gle",), "gl": ("glg",), "he": ("heb", "iw"), "hi": ("hin",), "hr": ("hrv",), "hu": ("hun",),
    "hy": ("hye", "arm"), "id": ("ind", "in"), "is": ("isl", "ice"), "it": ("ita",), "ja": ("jpn", "jp"),
    "ka": ("kat", "geo"), "kk": ("kaz",), "kn": ("kan",), "ko": ("kor", "kr"), "lt": ("lit",), "lv": ("lav", "lvs"),
    "mk": ("mkd", "mac"), "ml": ("mal",), "mr": ("mar",), "ms": ("msa", "may", "zsm"), "my": ("mya", "bur"),
    "nl": ("nld", "dut"), "nn": ("nno",), "no": ("nor", "nob", "nb"), "pl": ("pol",), "pt": ("por",),
    "ro": ("ron", "rum", "mo"), "ru": ("rus",), "sk": ("slk", "slo"), "sl": ("slv",), "sq": ("sqi", "alb"),
    "sr": ("srp",), "sv": ("swe",), "sw": ("swa", "swh"), "ta": ("tam",), "te": ("tel",), "th": ("tha",),
    "tl": ("tgl", "fil"), "tr": ("tur",), "uk": ("ukr",), "ur": ("urd",), "uz": ("uzb", "uzn"), "vi": ("vie",),
    "yi": ("yid", "ji"), "zh": ("zho", "chi", "cmn"),
    "als": ("gsw",), "simple": ("en-simple",), "zh_classical": ("lzh", "zh-classical"),
    "zh_min_nan": ("nan", "zh-min-nan"), "zh_yue": ("yue", "zh-yue"),
}  # fmt: skip

_CODE_OF_ALIAS = {alias: code for code, aliases in ALIASES.items() for alias in aliases}


def resolve_lang(lang: str, known: Collection[str]) -> str | None:
    """Find the checkpoint's code for a language code in the data.

    The code is looked up as it is, then regardless of case and of `_` or `-`, then by its alias. Without a match, the
    last subtag (variant, region, script) is removed and the lookup repeated: `zh-Hans-CN` and `zh_CN` resolve to `zh`,
    and `pt-BR` to `pt`.

    Args:
        lang: a language code, such as `de`, `zh_CN`, `deu`.
        known: the keys of the checkpoint's `lang2id`.

    Returns:
        A key of `known`, or None if the language is not among them. Languages are never detected from texts.
    """
    if lang in known:
        return lang
    by_normalized = {_normalize(code): code for code in known}
    subtags = _normalize(lang).split("-")
    while subtags:
        prefix = "-".join(subtags)
        for candidate in (prefix, _normalize(_CODE_OF_ALIAS.get(prefix, prefix))):
            if candidate in by_normalized:
                return by_normalized[candidate]
        subtags.pop()
    return None


def canonical_lang(lang: str) -> str | None:
    """Resolve a code without a checkpoint: `zh-Hans` gives `zh`, `deu` gives `de`."""
    return resolve_lang(lang, ALIASES) or _normalize(lang).partition("-")[0] or None


def _normalize(code: str) -> str:
    return code.strip().lower().replace("_", "-")
