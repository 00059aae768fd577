"""One text, or one list of words, to its tokens."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from xlm_core.tokenizer.sequences import Tokens

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from xlm_core.text.segment import Words
    from xlm_core.tokenizer.subwords import WordEncoder

# Given words are segmented each on its own, which costs more than a text of them does; most come again and again.
_MAX_CACHED_GIVEN_WORDS = 100_000


class TextEncoder:
    """Encodes texts, without special tokens.

    Args:
        segment: cuts a text of a language into words.
        encode_word: gives the pieces of a word.
        spelled: strings that stand for a token of their own wherever a text holds them, and its id.
    """

    def __init__(
        self,
        segment: Callable[[str, str | None], Words],
        encode_word: WordEncoder,
        spelled: Mapping[str, int],
    ):
        self._segment, self._encode_word, self._spelled = segment, encode_word, spelled
        longest_first = sorted(spelled, key=len, reverse=True)
        self._pattern = re.compile(f"({'|'.join(map(re.escape, longest_first))})") if spelled else None
        self._encode_given_word = lru_cache(_MAX_CACHED_GIVEN_WORDS)(self._encode_string)

    def __call__(self, text: str | Sequence[str], lang: str | None) -> Tokens:
        """Encode a string; or a list of words, each on its own, whose numbers are then the tokens' word ids."""
        if isinstance(text, str):
            return self._encode_string(text, lang)
        tokens, shift = Tokens(), 0
        for number, word in enumerate(text):
            found = self._encode_given_word(word, lang)
            tokens.ids += found.ids
            tokens.starts += [shift + start for start in found.starts]
            tokens.ends += [shift + end for end in found.ends]
            tokens.word_ids += [number] * len(found)
            shift += len(word) + 1
        return tokens

    def pieces(self, text: str, lang: str | None) -> list[str]:
        """Give the tokens as strings, also those that the vocabulary does not hold."""
        found: list[str] = []
        for part, token_id in self._parts(text):
            if token_id is not None:
                found.append(part)
            else:
                for word in self._segment(part, lang).words:
                    found += [piece for piece, _, _ in self._encode_word.spans(word)]
        return found

    def _parts(self, text: str) -> Iterator[tuple[str, int | None]]:
        """Part a text at the strings that stand for a token; with each of these comes its id."""
        if self._pattern is None:
            yield text, None
        else:
            for i, part in enumerate(self._pattern.split(text)):
                if part:
                    yield part, self._spelled[part] if i % 2 else None

    def _encode_string(self, text: str, lang: str | None) -> Tokens:
        tokens = Tokens()
        shift = num_words = 0
        for part, token_id in self._parts(text):
            if token_id is None:
                num_words = self._encode_part(part, lang, shift, num_words, tokens)
            else:
                tokens.add(token_id, shift, shift + len(part), num_words)
                num_words += 1
            shift += len(part)
        return tokens

    def _encode_part(self, text: str, lang: str | None, shift: int, num_words: int, tokens: Tokens) -> int:
        aligned, words, places = self._segment(text, lang)
        span, moved, encode_word = aligned.span, aligned.moved, self._encode_word
        for word, place in zip(words, places, strict=True):
            pieces = encode_word(word)
            if not pieces.ids:
                continue
            tokens.ids += pieces.ids
            if moved:
                for start, end in zip(pieces.starts, pieces.ends, strict=True):
                    first, last = span(place + start, place + end)
                    tokens.starts.append(shift + first)
                    tokens.ends.append(shift + last)
            else:
                base = shift + place
                tokens.starts += [base + start for start in pieces.starts]
                tokens.ends += [base + end for end in pieces.ends]
            tokens.word_ids += [num_words] * len(pieces.ids)
            num_words += 1
        return num_words
