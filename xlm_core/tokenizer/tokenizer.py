"""XLM's tokenizer: words by language, pieces by byte-pair encoding, and the place of each in the original text."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from xlm_core.errors import TokenizerError, shown
from xlm_core.reference.tokenizer_call import CallableTokenizer
from xlm_core.text.segment import Compat, Segmenters
from xlm_core.tokenizer.files import ADDITIONAL_SPECIAL_TOKENS, TokenizerFiles, read_tokenizer_files
from xlm_core.tokenizer.sequences import Encoding, SequenceBuilder, Tokens
from xlm_core.tokenizer.subwords import WordEncoder
from xlm_core.tokenizer.text_encoder import TextEncoder
from xlm_core.tokenizer.write_files import write_tokenizer_files

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class XLMTokenizer(CallableTokenizer):
    """Encode texts of many languages for an XLM checkpoint.

    `encode_batch` is for corpora: texts in, ragged arrays out. A call, `tokenizer(text, lang="de")`, is the reference's
    interface: dictionaries of lists or padded tensors. A row's language is its own: every call takes one code a text,
    resolved by `lang2id` (see `languages`).

    Args:
        vocab: token to id.
        merges: pair of symbols to rank.
        lang2id, special_tokens, additional_special_tokens: as `Vocabulary` takes them.
        lowercase: lower-case and remove accents (`do_lowercase_and_remove_accent`).
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
        self.merges = dict(merges)
        self.lowercase = lowercase
        self.segmenters = segmenters or Segmenters()
        self.compat = self.segmenters.compat
        # last: it gives the special tokens their roles, and with them come the word encoders
        super().__init__(vocab, lang2id, special_tokens, additional_special_tokens)

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
        return tokenizer

    def save_pretrained(self, path: str | Path) -> list[Path]:
        """Write a checkpoint's tokenizer files, which the reference reads too; give their paths.

        How words are cut (`segmenters`) is no part of a checkpoint.
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
        """Give roles to other tokens of the vocabulary; see `Vocabulary.set_special_tokens`."""
        super().set_special_tokens(**tokens)
        control = set(self.all_special_tokens)
        if self.compat == "default":
            control |= set(ADDITIONAL_SPECIAL_TOKENS) & self.vocab.keys()
        # what a text's own characters may become: in the default, never a control token
        plain = {token: i for token, i in self.vocab.items() if self.compat == "reference" or token not in control}
        self._encode_word = WordEncoder(plain, self.unk_token_id, self.merges, self.lowercase)
        self._encode_cased_word = WordEncoder(plain, self.unk_token_id, self.merges, lowercase=False)
        # a text that spells out a control token means it: only the reference reads it so
        self._spelled = {token: self.vocab[token] for token in control} if self.compat == "reference" else {}

    def encode_batch(
        self,
        texts: Sequence[str | Sequence[str]],
        langs: Sequence[str | None],
        pairs: Sequence[str | Sequence[str]] | None = None,
        max_length: int | None = None,
        *,
        overlap: int | None = None,
        bypass: bool = False,
        mask_marker: str | None = None,
    ) -> Encoding:
        """Encode texts, or pairs of texts, with special tokens: `<s> A </s>` and `<s> A </s> B </s>`.

        Args:
            texts: B strings; or B lists of words, each word cut on its own by the language's rules.
            langs: B language codes; None cuts a text by neutral rules.
            pairs: B second texts, in the same language as the first.
            max_length: tokens a sequence may have, special ones included.
            overlap: None leaves the rest of a longer row out, of a pair from its longer text first. A number makes
                several windows of it instead, over its last text, which share this many tokens with the window before;
                a pair's first text stands whole in each. Where that leaves a window no more than `overlap` tokens of
                the second text, the row is cut off as without windows, and `num_truncated` tells so.
            bypass: texts were cut before: words, parted by white space, go to byte-pair encoding as they are, without
                lower-casing.
            mask_marker: wherever a text holds this string, the mask token stands, a word of its own; what stands
                between is cut as texts of their own.

        Raises:
            TokenizerError: a language's segmenter is not installed or has no model.
            ValueError: `max_length` has no room for the special tokens, or none beside the overlap, the checkpoint
                lacks a language, the arguments' lengths differ, or one is a string.
        """
        for name, column in ("texts", texts), ("langs", langs), ("pairs", pairs):
            if isinstance(column, str):
                raise ValueError(f"{name}: got the one string {shown(column)}, expected a list, with one for each row")
        columns = [texts] if pairs is None else [texts, pairs]
        sequences = SequenceBuilder(
            self.bos_token_id,
            self.sep_token_id,
            self.unk_token_id,
            num_texts=len(columns),
            max_length=max_length,
            overlap=overlap,
        )
        encode = self.text_encoder(bypass=bypass, mask_marker=mask_marker)
        known: tuple[object, str | None] | None = None
        first = Tokens()
        for code, (text, *pair) in zip(langs, zip(*columns, strict=True), strict=True):
            lang = self.known_lang(code)
            if known is None or text is not known[0] or lang != known[1]:  # the choices of a premise share it
                known, first = (text, lang), encode(text, lang)
            sequences.add_row([first, *(encode(other, lang) for other in pair)])
        return sequences.build()

    def tokenize(self, text: str, lang: str | None, *, bypass_tokenizer: bool = False) -> list[str]:
        """Give the tokens of a text as strings, without special tokens; see `encode_batch`."""
        return self.text_encoder(bypass=bypass_tokenizer).pieces(text, self.known_lang(lang))

    def text_encoder(self, *, bypass: bool = False, mask_marker: str | None = None) -> TextEncoder:
        """Give what encodes one text; see `encode_batch` for the arguments."""
        if mask_marker == "":
            raise ValueError("mask_marker is empty; pass the string that stands for a mask in the texts, or None")
        segment = self.segmenters.split if bypass else self.segmenters.segment
        encode_word = self._encode_cased_word if bypass else self._encode_word
        marker = {} if mask_marker is None else {mask_marker: self.mask_token_id}
        return TextEncoder(segment, encode_word, self._spelled | marker)
