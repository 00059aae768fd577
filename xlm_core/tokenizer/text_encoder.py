"""Encode one text, or one list of words, without special tokens."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from xlm_core.tokenizer.sequences import Tokens

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from xlm_core.text import SegmentedText
    from xlm_core.tokenizer.subwords import WordEncoder

# Words of a list are segmented one by one, which costs more than segmenting a text of the same words. Most repeat.
_MAX_CACHED_GIVEN_WORDS = 100_000


class TextEncoder:
    """Encodes texts without special tokens.

    Args:
        segment: splits a text of a language into words.
        encode_word: splits a word into subwords.
        literal_ids: strings that become one token, with this id, anywhere in a text.
    """

    def __init__(
        self,
        segment: Callable[[str, str | None], SegmentedText],
        encode_word: WordEncoder,
        literal_ids: Mapping[str, int],
    ):
        self._segment, self._encode_word, self._literal_ids = segment, encode_word, literal_ids
        longest_first = sorted(literal_ids, key=len, reverse=True)
        self._literals = re.compile(f"({'|'.join(map(re.escape, longest_first))})") if literal_ids else None
        self._encode_given_word = lru_cache(_MAX_CACHED_GIVEN_WORDS)(self._encode_string)

    def __call__(self, text: str | Sequence[str], lang: str | None) -> Tokens:
        """Encode a string, or a list of words.

        The words of a list are encoded one by one, and the tokens' word ids are indices of the list.
        """
        if isinstance(text, str):
            return self._encode_string(text, lang)
        tokens, char_offset = Tokens(), 0
        for number, word in enumerate(text):
            found = self._encode_given_word(word, lang)
            tokens.ids += found.ids
            tokens.starts += [char_offset + start for start in found.starts]
            tokens.ends += [char_offset + end for end in found.ends]
            tokens.word_ids += [number] * len(found)
            char_offset += len(word) + 1
        return tokens

    def tokenize(self, text: str, lang: str | None) -> list[str]:
        """Return the tokens of a text as strings, including those that are not in the vocabulary."""
        found: list[str] = []
        for part, token_id in self._split_at_literals(text):
            if token_id is not None:
                found.append(part)
            else:
                for word in self._segment(part, lang).words:
                    found += [subword for subword, _, _ in self._encode_word.split(word)]
        return found

    def _split_at_literals(self, text: str) -> Iterator[tuple[str, int | None]]:
        """Split a text at its literal tokens. Yields (part, id), where id is None for ordinary text."""
        if self._literals is None:
            yield text, None
        else:
            for i, part in enumerate(self._literals.split(text)):
                if part:
                    yield part, self._literal_ids[part] if i % 2 else None

    def _encode_string(self, text: str, lang: str | None) -> Tokens:
        tokens = Tokens()
        char_offset = num_words = 0
        for part, token_id in self._split_at_literals(text):
            if token_id is None:
                num_words = self._encode_part(part, lang, char_offset, num_words, tokens)
            else:
                tokens.add(token_id, char_offset, char_offset + len(part), num_words)
                num_words += 1
            char_offset += len(part)
        return tokens

    def _encode_part(self, text: str, lang: str | None, char_offset: int, num_words: int, tokens: Tokens) -> int:
        """Append the tokens of ordinary text to `tokens`, and return the new number of words."""
        aligned, words, word_offsets = self._segment(text, lang)
        span, has_moved, encode_word = aligned.span, aligned.has_moved, self._encode_word
        for word, word_offset in zip(words, word_offsets, strict=True):
            subwords = encode_word(word)
            if not subwords.ids:
                continue
            tokens.ids += subwords.ids
            if has_moved:
                for start, end in zip(subwords.starts, subwords.ends, strict=True):
                    first, last = span(word_offset + start, word_offset + end)
                    tokens.starts.append(char_offset + first)
                    tokens.ends.append(char_offset + last)
            else:
                base = char_offset + word_offset
                tokens.starts += [base + start for start in subwords.starts]
                tokens.ends += [base + end for end in subwords.ends]
            tokens.word_ids += [num_words] * len(subwords.ids)
            num_words += 1
        return num_words
