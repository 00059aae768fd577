"""XLM's tokenizer: words by language, pieces by byte-pair encoding, and the place of each in the original text."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from xlm_core.errors import TokenizerError
from xlm_core.languages import canonical_lang, resolve_lang
from xlm_core.pieces import WordEncoder
from xlm_core.segment import Compat, Segmenters
from xlm_core.tokenizer_files import ADDITIONAL_SPECIAL_TOKENS, SPECIAL_TOKENS, read_tokenizer_files

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray


@dataclass(frozen=True)
class Encoding:
    """A batch of token sequences laid end to end; B sequences, T tokens in all.

    Attributes:
        input_ids: int32 [T].
        cu_seqlens: int32 [B + 1]; sequence b is `input_ids[cu_seqlens[b]:cu_seqlens[b + 1]]`.
        offsets: int32 [T, 2], the characters of the original text each token came from, end exclusive; of a pair's
            second text, in that text. Special tokens have (-1, -1). Starts and ends never decrease within a text.
        word_ids: int32 [T], the number of the word within its text; -1 for special tokens.
        num_truncated: int32 [B], tokens that `max_length` left out.
    """

    input_ids: NDArray[np.int32]
    cu_seqlens: NDArray[np.int32]
    offsets: NDArray[np.int32]
    word_ids: NDArray[np.int32]
    num_truncated: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.cu_seqlens) - 1


class _Tokens:
    """Tokens under way: of one text, or of a batch."""

    __slots__ = ("ends", "ids", "starts", "word_ids")

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.starts: list[int] = []
        self.ends: list[int] = []
        self.word_ids: list[int] = []

    def add(self, token_id: int, start: int = -1, end: int = -1, word_id: int = -1) -> None:
        self.ids.append(token_id)
        self.starts.append(start)
        self.ends.append(end)
        self.word_ids.append(word_id)

    def extend(self, other: _Tokens, size: int) -> None:
        self.ids += other.ids[:size]
        self.starts += other.starts[:size]
        self.ends += other.ends[:size]
        self.word_ids += other.word_ids[:size]


class XLMTokenizer:
    """Encode texts of many languages for an XLM checkpoint.

    A row's language is its own: every call takes one code a text, resolved by `lang2id` (see `languages`).

    Args:
        vocab: token to id.
        merges: pair of symbols to rank.
        lang2id: the checkpoint's languages; None or empty for a checkpoint without language ids, where any code goes.
        lowercase: lower-case and remove accents (`do_lowercase_and_remove_accent`).
        special_tokens: overrides of `SPECIAL_TOKENS`.
        additional_special_tokens: further tokens that no text may produce.
        segmenters: how words are cut. With `compat="reference"` the ids are the reference's to the letter: it deletes
            tabs and line breaks, and lets a text inject control tokens by spelling them out.
    """

    def __init__(
        self,
        vocab: Mapping[str, int],
        merges: Mapping[tuple[str, ...], int],
        lang2id: Mapping[str, int] | None = None,
        lowercase: bool = True,
        special_tokens: Mapping[str, str] | None = None,
        additional_special_tokens: Sequence[str] = tuple(ADDITIONAL_SPECIAL_TOKENS),
        segmenters: Segmenters | None = None,
    ):
        self.vocab = dict(vocab)
        self.lang2id = dict(lang2id or {})
        self.segmenters = segmenters or Segmenters()
        self.compat = self.segmenters.compat
        self.special_tokens = SPECIAL_TOKENS | dict(special_tokens or {})
        missing = sorted({f"{role} {token}" for role, token in self.special_tokens.items() if token not in self.vocab})
        if missing:
            raise TokenizerError(f"vocab.json lacks {', '.join(missing)}; is it the vocabulary of an XLM checkpoint?")
        self.unk_id = self.vocab[self.special_tokens["unk_token"]]
        self.bos_id = self.vocab[self.special_tokens["bos_token"]]
        self.sep_id = self.vocab[self.special_tokens["sep_token"]]
        self.pad_id = self.vocab[self.special_tokens["pad_token"]]
        self.mask_id = self.vocab[self.special_tokens["mask_token"]]

        control = {*self.special_tokens.values(), *additional_special_tokens} & self.vocab.keys()
        if self.compat == "default":
            control |= set(ADDITIONAL_SPECIAL_TOKENS) & self.vocab.keys()
        # what a text's own characters may become: in the default, never a control token
        plain = {token: i for token, i in self.vocab.items() if self.compat == "reference" or token not in control}
        self._encode_word = WordEncoder(plain, self.unk_id, merges, lowercase)
        self._control = re.compile("(" + "|".join(map(re.escape, sorted(control, key=len, reverse=True))) + ")")
        self._langs: dict[str, str | None] = {}

    @classmethod
    def from_pretrained(
        cls,
        path: str | Path,
        *,
        lowercase: bool | None = None,
        zh: Literal["jieba", "rjieba"] = "jieba",
        ja: Literal["kytea", "fugashi"] = "kytea",
        kytea_model: str | Path | None = None,
        compat: Compat = "default",
    ) -> XLMTokenizer:
        """Read the tokenizer of a checkpoint directory; see `tokenizer_files`.

        Args:
            path: the directory.
            lowercase: in place of the checkpoint's own setting.
            zh, ja, kytea_model, compat: as `Segmenters` takes them.

        Raises:
            TokenizerError: a file is missing or is not what its name says.
        """
        files = read_tokenizer_files(Path(path))
        return cls(
            files.vocab,
            files.merges,
            lang2id=files.lang2id,
            lowercase=files.lowercase if lowercase is None else lowercase,
            special_tokens=files.special_tokens,
            additional_special_tokens=files.additional_special_tokens,
            segmenters=Segmenters(zh=zh, ja=ja, kytea_model=kytea_model, compat=compat),
        )

    def resolve_lang(self, lang: str) -> str | None:
        """Give the checkpoint's own code for a language code, or None when it does not know the language."""
        if lang not in self._langs:
            # without language ids there is nothing to look up: the code still says how words are cut
            self._langs[lang] = resolve_lang(lang, self.lang2id) if self.lang2id else canonical_lang(lang)
        return self._langs[lang]

    def encode_batch(
        self,
        texts: Sequence[str],
        langs: Sequence[str | None],
        pairs: Sequence[str] | None = None,
        max_length: int | None = None,
    ) -> Encoding:
        """Encode texts, or pairs of texts, with special tokens: `<s> A </s>` and `<s> A </s> B </s>`.

        Args:
            texts: B strings.
            langs: B language codes; None cuts a text by neutral rules.
            pairs: B second texts, in the same language as the first.
            max_length: tokens a sequence may have, special ones included; the rest is left out, of a pair from its
                longer text first.

        Raises:
            TokenizerError: a language's segmenter is not installed or has no model.
            ValueError: `max_length` has no room for the special tokens, the checkpoint lacks a language, or the
                arguments' lengths differ.
        """
        num_special = 2 if pairs is None else 3
        if max_length is not None and max_length < num_special:
            raise ValueError(f"max_length {max_length} leaves no room: special tokens alone are {num_special}")
        batch = _Tokens()
        borders = [0]
        num_truncated: list[int] = []
        columns = [texts] if pairs is None else [texts, pairs]
        for code, row in zip(langs, zip(*columns, strict=True), strict=True):
            lang = None if code is None else self.resolve_lang(code)
            if code is not None and lang is None:
                raise ValueError(f"langs: the checkpoint knows no language {code!r}; pass None for neutral rules")
            parts = [self._encode(text, lang) for text in row]
            sizes = [len(part.ids) for part in parts]
            surplus = 0 if max_length is None else max(sum(sizes) + num_special - max_length, 0)
            batch.add(self.bos_id)
            for part, size, leave in zip(parts, sizes, _shares(sizes, surplus), strict=True):
                batch.extend(part, max(size - leave, 0))
                batch.add(self.sep_id)
            borders.append(len(batch.ids))
            num_truncated.append(surplus)
        return Encoding(
            input_ids=np.array(batch.ids, np.int32),
            cu_seqlens=np.array(borders, np.int32),
            offsets=np.stack([np.array(batch.starts, np.int32), np.array(batch.ends, np.int32)], axis=1),
            word_ids=np.array(batch.word_ids, np.int32),
            num_truncated=np.array(num_truncated, np.int32),
        )

    def _parts(self, text: str) -> list[tuple[str, bool]]:
        """Part a text at the control tokens it spells out: only the reference reads them as such."""
        if self.compat == "default":
            return [(text, False)]
        return [(part, i % 2 == 1) for i, part in enumerate(self._control.split(text)) if part]

    def _encode(self, text: str, lang: str | None) -> _Tokens:
        tokens = _Tokens()
        shift = num_words = 0
        for part, is_control in self._parts(text):
            if is_control:
                tokens.add(self.vocab[part], shift, shift + len(part), num_words)
                num_words += 1
            else:
                num_words = self._encode_part(part, lang, shift, num_words, tokens)
            shift += len(part)
        return tokens

    def _encode_part(self, text: str, lang: str | None, shift: int, num_words: int, tokens: _Tokens) -> int:
        aligned, words, places = self.segmenters.segment(text, lang)
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


def _shares(sizes: list[int], surplus: int) -> list[int]:
    """Share out the tokens to leave out: of a pair, first what the longer text is longer by, then half each."""
    if len(sizes) == 1:
        return [surplus]
    first, second = sizes
    lead = min(abs(first - second), surplus)
    half, rest = (surplus - lead) // 2, surplus - lead - (surplus - lead) // 2
    return [lead + half, rest] if first > second else [half, lead + rest]
