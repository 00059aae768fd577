"""Which of a checkpoint's languages a language code names."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

# Codes that name the same language: retired ISO 639-1, ISO 639-2/3 for two-letter ones, and the codes that the
# 100-language checkpoints took from Wikipedia's names.
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

_CANONICAL = {alias: code for code, aliases in ALIASES.items() for alias in aliases}


def resolve_lang(lang: str, known: Collection[str]) -> str | None:
    """Find the checkpoint's own code for a language code as it stands in the data.

    Tried in turn: the code itself; without regard to case and to `_` or `-`; its alias; then the same with the last
    subtag (variant, region, script) left off, so `zh-Hans-CN` and `zh_CN` are `zh`, and `pt-BR` is `pt`.

    Args:
        lang: a language code, such as `de`, `zh_CN`, `deu`.
        known: the keys of the checkpoint's `lang2id`.

    Returns:
        The key of `known`, or None when the checkpoint does not know the language. Nothing is guessed from texts.
    """
    if lang in known:
        return lang
    by_form = {_form(code): code for code in known}
    subtags = _form(lang).split("-")
    while subtags:
        form = "-".join(subtags)
        for candidate in (form, _form(_CANONICAL.get(form, form))):
            if candidate in by_form:
                return by_form[candidate]
        subtags.pop()
    return None


def canonical_lang(lang: str) -> str | None:
    """Give a code's plain form where no checkpoint has a say in it: `zh-Hans` is `zh`, `deu` is `de`."""
    return resolve_lang(lang, ALIASES) or _form(lang).partition("-")[0] or None


def _form(code: str) -> str:
    return code.strip().lower().replace("_", "-")
