"""The tokenizer in its native form: texts of many languages to ragged arrays."""

from __future__ import annotations

from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

import numpy as np

from xlm_core.errors import TokenizerError, format_value
from xlm_core.text import ChineseSegmenter, Compat, JapaneseSegmenter, Segmenters
from xlm_core.tokenizer.files import (
    ADDITIONAL_SPECIAL_TOKENS,
    NO_MAX_LENGTH,
    TokenizerFiles,
    read_tokenizer_files,
    write_tokenizer_files,
)
from xlm_core.tokenizer.sequences import Encoding, SequenceFormat
from xlm_core.tokenizer.subwords import WordEncoder
from xlm_core.tokenizer.text_encoder import TextEncoder, call_after
from xlm_core.tokenizer.vocabulary import Vocabulary

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from xlm_core.tokenizer.sequences import TextTokens


class PackedTokenizer(Vocabulary):
    """Encodes texts for an XLM checkpoint. `XLMTokenizer` adds the reference's interface.

    Each row has its own language code, which is resolved by the checkpoint's `lang2id` (see `languages`).

    Args:
        vocab: token to id.
        merges: pair of symbols to rank.
        lang2id, special_tokens, additional_special_tokens: see `Vocabulary`.
        lowercase: lower-case texts and remove accents (`do_lowercase_and_remove_accent`).
        segmenters: how texts are split into words. With `compat="reference"` the ids are exactly the reference's: it
            deletes tabs and line breaks and does not compose characters, and the name of a special token in a text
            becomes that token.

    Attributes:
        model_max_length: the `max_length` of calls that need one and do not pass it.
        padding_side: the side of the pads unless a call passes one.
        warnings: what is unusual in the files that it was read from.
    """

    model_max_length: int = NO_MAX_LENGTH
    padding_side: Literal["right", "left"] = "right"
    warnings: tuple[str, ...] = ()

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
        self.merges = dict(merges)
        self.lowercase = lowercase
        self.segmenters = segmenters or Segmenters()
        self.compat = self.segmenters.compat
        # Last, because it calls set_special_tokens, which builds the word encoders.
        super().__init__(vocab, lang2id, special_tokens, additional_special_tokens)

    @classmethod
    def from_pretrained(
        cls,
        path: str | Path,
        *,
        lowercase: bool | None = None,
        zh: ChineseSegmenter = "jieba",
        ja: JapaneseSegmenter = "kytea",
        kytea_model: str | Path | None = None,
        compat: Compat = "default",
    ) -> Self:
        """Read the tokenizer of a checkpoint directory; see `read_tokenizer_files`.

        Args:
            path: the directory.
            lowercase: overrides the checkpoint's setting.
            zh, ja, kytea_model, compat: see `Segmenters`.

        Raises:
            TokenizerError: a file is missing or malformed.
            CheckpointError: the `.pth` of an original release cannot be used.
            ValueError: a segmenter or `compat` has another value.
        """
        files = read_tokenizer_files(Path(path), lowercase)
        try:
            tokenizer = cls(
                files.vocab,
                files.merges,
                lang2id=files.lang2id,
                lowercase=files.lowercase if lowercase is None else lowercase,
                special_tokens=files.special_tokens,
                additional_special_tokens=files.additional_special_tokens,
                segmenters=Segmenters(zh=zh, ja=ja, kytea_model=kytea_model, compat=compat),
            )
        except TokenizerError as error:
            raise TokenizerError(f"{path}: {error}") from None
        tokenizer.model_max_length = files.model_max_length
        tokenizer.padding_side = files.padding_side
        tokenizer.clean_up_tokenization_spaces = files.clean_up_tokenization_spaces
        tokenizer.warnings = files.warnings
        return tokenizer

    def save_pretrained(self, path: str | Path) -> list[Path]:
        """Write the tokenizer files of a checkpoint, which the reference can read, and return their paths.

        The choice of segmenters is not part of a checkpoint and is not written.
        """
        files = TokenizerFiles(
            self.vocab,
            self.merges,
            self.lang2id,
            self.lowercase,
            self.special_tokens,
            self.additional_special_tokens,
            self.model_max_length,
            self.padding_side,
            self.clean_up_tokenization_spaces,
        )
        return write_tokenizer_files(Path(path), files)

    def set_special_tokens(self, **tokens: str) -> None:
        """Assign roles to other tokens of the vocabulary; see `Vocabulary.set_special_tokens`."""
        super().set_special_tokens(**tokens)
        special = set(self.all_special_tokens)
        if self.compat == "default":
            special |= set(ADDITIONAL_SPECIAL_TOKENS) & self.vocab.keys()
        # By default, text never becomes a special token. In the reference, the name of a special token in a text does.
        plain = {token: i for token, i in self.vocab.items() if self.compat == "reference" or token not in special}
        encode_word = WordEncoder(plain, self.unk_token_id, self.merges, self.lowercase)
        encode_cased_word = WordEncoder(plain, self.unk_token_id, self.merges, lowercase=False)
        self._encoder = TextEncoder(self.segmenters, encode_word)
        self._bypass_encoder = TextEncoder(self.segmenters, encode_cased_word, is_segmented=True)
        self._literal_ids = {token: self.vocab[token] for token in special} if self.compat == "reference" else {}

    def encode_batch(
        self,
        texts: Sequence[str | Sequence[str]],
        langs: Sequence[str | None],
        pairs: Sequence[str | Sequence[str]] | None = None,
        max_length: int | None = None,
        *,
        overlap: int | None = None,
        bypass_tokenizer: bool = False,
        mask_marker: str | None = None,
        with_offsets: bool = True,
        on_row: Callable[[], None] | None = None,
    ) -> Encoding:
        """Encode texts, or pairs of texts, with special tokens: `<s> A </s>` and `<s> A </s> B </s>`.

        Args:
            texts: N strings; or N lists of words, where each word is segmented alone.
            langs: N language codes; None segments a text by language-neutral rules.
            pairs: N second texts, in the same language as the first.
            max_length: maximum number of tokens in a sequence, special tokens included.
            overlap: None truncates longer rows; a pair loses tokens from its longer text first. A number splits the
                last text of a longer row into windows instead, which overlap by this many tokens; the first text of a
                pair is repeated in every window. A pair whose first text leaves no room for more than `overlap` tokens
                of the second is truncated as without windows; `num_truncated` shows it.
            bypass_tokenizer: texts are already segmented: words, separated by white space, go directly to byte-pair
                encoding, without lower-casing.
            mask_marker: each occurrence of this string in a text becomes the mask token, as a word of its own. The
                text around it is segmented in separate parts.
            with_offsets: whether to compute the characters of each token.
            on_row: called after each row, as texts of some languages take long.

        Raises:
            TokenizerError: a language's segmenter is not installed or has no model.
            ValueError: `max_length` has no room for the special tokens and the overlap, a language is not in the
                checkpoint's lang2id, the arguments have different lengths, or one of them is a string.
        """
        for name, column in ("texts", texts), ("langs", langs), ("pairs", pairs):
            if isinstance(column, str):
                raise ValueError(
                    f"{name}: got a single string {format_value(column)}, expected a list with one item per row"
                )
        columns = [texts] if pairs is None else [texts, pairs]
        form = SequenceFormat(
            self.bos_token_id,
            self.sep_token_id,
            self.unk_token_id,
            num_texts=len(columns),
            max_length=max_length,
            overlap=overlap,
        )
        num_texts = len(columns)
        known = [self.require_lang(code) for code in langs]
        rows = [(lang, row) for lang, row in zip(known, zip(*columns, strict=True), strict=True)]
        if num_texts > 1 and on_row is not None:
            on_row = call_after(on_row, cycle([False, True]))
        tokens = self._text_encoder(bypass_tokenizer).encode(
            [text for _, row in rows for text in row],
            [lang for lang, row in rows for _ in row],
            self._literals(mask_marker),
            with_offsets=with_offsets,
            on_text=on_row,
        )
        return form.build(tokens, np.arange(len(rows) * num_texts).reshape(-1, num_texts))

    def clear_memory(self) -> None:
        """Forget the words and texts that were encoded; they are encoded again when they occur."""
        self._encoder.clear_memory()
        self._bypass_encoder.clear_memory()

    def encode_texts(
        self,
        texts: Sequence[str | Sequence[str]],
        langs: Sequence[str | None],
        *,
        bypass_tokenizer: bool = False,
        mask_marker: str | None = None,
    ) -> TextTokens:
        """Encode texts without special tokens; see `encode_batch` for the arguments."""
        encoder = self._text_encoder(bypass_tokenizer)
        return encoder.encode(texts, [self.require_lang(lang) for lang in langs], self._literals(mask_marker))

    def tokenize(self, text: str, lang: str | None, *, bypass_tokenizer: bool = False) -> list[str]:
        """Return the tokens of a text as strings, without special tokens; see `encode_batch`."""
        encoder = self._text_encoder(bypass_tokenizer)
        return encoder.tokenize(text, self.require_lang(lang), self._literals(None))

    def _text_encoder(self, bypass_tokenizer: bool) -> TextEncoder:
        return self._bypass_encoder if bypass_tokenizer else self._encoder

    def _literals(self, mask_marker: str | None) -> dict[str, int]:
        """Return the strings that become one token."""
        if mask_marker == "":
            raise ValueError("mask_marker is empty; pass the string that marks a mask in the texts, or None")
        return self._literal_ids if mask_marker is None else {**self._literal_ids, mask_marker: self.mask_token_id}
