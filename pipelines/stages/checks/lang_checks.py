"""The check of a row's language: which language of the checkpoint it is, or why the row is rejected."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.job import DetectedLang
from pipelines.rows import Rejection, RejectionReason
from xlm_core.errors import shown_lang
from xlm_core.languages import is_missing_lang

if TYPE_CHECKING:
    from pipelines.job import InputSettings, PolicySettings
    from xlm_core import XLMTokenizer


@dataclass(frozen=True)
class LangChecks:
    """What is required of the language of a row.

    Attributes:
        tokenizer: resolves language codes.
        input: the columns and their roles.
        policy: what to do with rows of an unknown language.
    """

    tokenizer: XLMTokenizer
    input: InputSettings
    policy: PolicySettings

    def check(self, lang: str | None, invalid_byte: int | None = None) -> tuple[str | None, Rejection | None]:
        """Check the language of one row.

        Args:
            lang: the code in the data.
            invalid_byte: the position of its first byte that is not UTF-8.

        Returns:
            The checkpoint's code, None if it has none; and why the row is rejected, None if it is not.
        """
        column = self.input.lang
        if invalid_byte is not None:
            detail = f"column {column}: byte {invalid_byte} of the language is not UTF-8"
            return None, Rejection(RejectionReason.INVALID_UTF8, detail)
        if lang is None:
            return None, Rejection(RejectionReason.NULL_LANG, f"column {column} is null")
        if (checkpoint_lang := self.tokenizer.resolve_lang(lang)) is not None:
            return checkpoint_lang, None
        if is_missing_lang(lang):
            shown = f"contains {lang.strip()}, which means no language" if lang.strip() else "is empty"
            return None, Rejection(RejectionReason.NULL_LANG, f"column {column} {shown}")
        return None, self._reject_unknown(self._describe_unknown(lang))

    def check_detected(self, lang: str | None, score: float | None) -> tuple[str | None, Rejection | None]:
        """Check the language that was found for a row; returns what `check` does.

        A row without a language has a text that cannot be used, for which it will be rejected.
        """
        column = self.input.lang
        if lang is None or score is None or not isinstance(column, DetectedLang):
            return None, None
        if score < column.threshold:
            detail = f"language {lang} has a score of {score:.3f}; input.lang.threshold is {column.threshold:g}"
            return None, self._reject_unknown(detail)
        checkpoint_lang = self.tokenizer.resolve_lang(lang)
        return checkpoint_lang, self._reject_unknown(self._describe_unknown(lang)) if checkpoint_lang is None else None

    def _describe_unknown(self, lang: str) -> str:
        problem = "in the checkpoint's lang2id" if self.tokenizer.lang2id else "a language code"
        return f"language {shown_lang(lang)} is not {problem}"

    def _reject_unknown(self, detail: str) -> Rejection | None:
        return Rejection(RejectionReason.UNKNOWN_LANG, detail) if self.policy.unknown_lang == "reject" else None


def as_lang_code(lang: str | None) -> str | None:
    """Return the language code of a rejected row; None if it has none, or the value may be the text of a row."""
    if lang is None or is_missing_lang(lang) or shown_lang(lang) != lang:
        return None
    return lang
