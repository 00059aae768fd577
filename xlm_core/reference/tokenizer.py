"""The tokenizer with the reference's interface: texts in, a dictionary of lists or padded tensors out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, get_args

from xlm_core.errors import check_choice, check_positive
from xlm_core.reference.batch_encoding import ArrayKind, BatchEncoding, PaddingSide, as_arrays, pad_batch
from xlm_core.tokenizer import NO_MAX_LENGTH, PackedTokenizer, Token, as_lists, truncated_sizes

if TYPE_CHECKING:
    from collections.abc import Sequence

    Text = str | Sequence[str]

Padding = Literal["longest", "max_length", "do_not_pad"]
Truncation = Literal["longest_first", "only_first", "only_second", "do_not_truncate"]


class XLMTokenizer(PackedTokenizer):
    """Encodes texts for an XLM checkpoint.

    Use `encode_batch` for corpora: texts in, ragged arrays out. Call the tokenizer, as in `tokenizer(text, lang="de")`,
    for the reference's interface. Unlike the reference, every call takes the language of each text.
    """

    def __call__(
        self,
        text: Text | Sequence[Text],
        text_pair: Text | Sequence[Text] | None = None,
        *,
        lang: str | Sequence[str | None] | None,
        add_special_tokens: bool = True,
        padding: bool | Padding = False,
        truncation: bool | Truncation | None = None,
        max_length: int | None = None,
        stride: int = 0,
        is_split_into_words: bool = False,
        pad_to_multiple_of: int | None = None,
        padding_side: PaddingSide | None = None,
        return_tensors: ArrayKind | None = None,
        return_attention_mask: bool = True,
        return_token_type_ids: bool = False,
        return_special_tokens_mask: bool = False,
        return_offsets_mapping: bool = False,
        return_length: bool = False,
        return_overflowing_tokens: bool = False,
        bypass_tokenizer: bool = False,
        mask_marker: str | None = None,
    ) -> BatchEncoding:
        """Encode texts, or pairs of texts.

        Args:
            text, text_pair: a string for one row, a list of strings for a batch; with `is_split_into_words` a list of
                words for one row, a list of such lists for a batch.
            lang: a language code, or one per row; None segments a text by language-neutral rules. There is no default:
                the reference's default is English for all texts.
            add_special_tokens: return `<s> A </s>` and `<s> A </s> B </s>`, not only the tokens of the texts.
            padding: True or "longest", "max_length", or False.
            truncation: True or "longest_first", "only_first", "only_second", or False. None means True if `max_length`
                is given and `padding` is False, as in the reference.
            max_length: maximum number of tokens in a sequence, special tokens included.
            stride: number of tokens before the cut that `overflowing_tokens` repeats.
            is_split_into_words: rows are lists of words, each segmented alone.
            pad_to_multiple_of: round the padded length up to a multiple of this.
            padding_side: the side of the pads; the tokenizer's `padding_side` if None.
            return_tensors: "pt" for tensors, "np" for arrays, both always [B, L]; None for lists.
            return_attention_mask: 1 for a token, 0 for a pad.
            return_token_type_ids: 0 for the first text, 1 for the second; always 0 without special tokens, as in the
                reference. XLM was not trained with these.
            return_special_tokens_mask: 1 for a special token or a pad.
            return_offsets_mapping: `offset_mapping`, start and end (exclusive) of each token in the characters of its
                text; (0, 0) for special tokens and pads.
            return_length: number of tokens in each sequence, without pads.
            return_overflowing_tokens: the ids that were cut off, and `num_truncated_tokens`.
            bypass_tokenizer: texts are already segmented into words separated by white space; see `encode_batch`.
            mask_marker: the string that marks a mask in the texts, such as `tokenizer.mask_token`. Without it, no text
                produces a special token, unless the tokenizer has `compat="reference"`.

        Returns:
            `input_ids` and the requested values. If the checkpoint has language ids, also `langs`, the id at each token
            (-1 in rows without a language). A single row gives flat lists.

        Raises:
            TokenizerError: a language's segmenter is not installed or has no model.
            ValueError: incompatible arguments, or a language that is not in the checkpoint's lang2id.
        """
        is_single, rows = _as_rows(text, text_pair, is_split_into_words)
        codes = [lang] * len(rows) if lang is None or isinstance(lang, str) else list(lang)
        if len(codes) != len(rows):
            raise ValueError(f"lang: expected one code, or one for each of {len(rows)} rows, got {len(codes)}")
        if truncation is None:
            truncation = max_length is not None and padding is False
        if stride < 0:
            raise ValueError(f"stride: got {stride}, expected at least 0")
        cut = _resolve_option("truncation", truncation, "longest_first", get_args(Truncation))
        if return_overflowing_tokens and cut == "longest_first" and text_pair is not None:
            raise ValueError("return_overflowing_tokens: for pairs, set truncation to 'only_first' or 'only_second'")
        if return_overflowing_tokens and return_tensors is not None:
            raise ValueError("return_overflowing_tokens: its lists have different lengths; omit return_tensors")
        limit = None if cut == "do_not_truncate" else self._require_length("truncation", max_length)
        num_texts = 1 if text_pair is None else 2
        tokens = self.encode_texts(
            [part for row in rows for part in row],
            [code for code in codes for _ in range(num_texts)],
            bypass_tokenizer=bypass_tokenizer,
            mask_marker=mask_marker,
        ).to_lists()
        sequences = [
            self._build_sequence(
                tokens[first : first + num_texts], self.require_lang(code), limit, cut, stride, add_special_tokens
            )
            for first, code in zip(range(0, len(tokens), num_texts), codes, strict=True)
        ]
        requested = {
            "input_ids": True,
            "attention_mask": return_attention_mask,
            "langs": bool(self.lang2id),
            "token_type_ids": return_token_type_ids,
            "special_tokens_mask": return_special_tokens_mask,
            "offset_mapping": return_offsets_mapping,
            "length": return_length,
            "overflowing_tokens": return_overflowing_tokens,
            "num_truncated_tokens": return_overflowing_tokens,
        }
        batch = {key: [sequence[key] for sequence in sequences] for key in requested if requested[key]}
        return self._pad_and_convert(
            batch, is_single, padding, max_length, pad_to_multiple_of, padding_side, return_tensors
        )

    def encode(self, text: Text, text_pair: Text | None = None, *, lang: str | None, **options: Any) -> list[int]:
        """Return the ids of one row; `options` are the keyword arguments of `__call__`."""
        return self(text, text_pair, lang=lang, **options)["input_ids"]

    def pad(
        self,
        encoded_inputs: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        padding: bool | Padding = True,
        max_length: int | None = None,
        *,
        pad_to_multiple_of: int | None = None,
        padding_side: PaddingSide | None = None,
        return_attention_mask: bool = True,
        return_tensors: ArrayKind | None = None,
    ) -> BatchEncoding:
        """Pad the results of earlier calls, as a collator does.

        Args:
            encoded_inputs: the encoding of one row or of a batch, or a list of encodings of one row each.
            padding, max_length, pad_to_multiple_of, padding_side, return_tensors: see `__call__`.
            return_attention_mask: add the mask if it is missing.

        Raises:
            ValueError: there are no `input_ids`, rows have different keys, or there is no length to pad to.
        """
        if not isinstance(encoded_inputs, Mapping):
            first = encoded_inputs[0] if encoded_inputs else {"input_ids": []}
            for i, row in enumerate(encoded_inputs):
                if row.keys() != first.keys():
                    raise ValueError(f"pad: row {i} has {', '.join(row)}, expected {', '.join(first)}, as in row 0")
            encoded_inputs = {key: [row[key] for row in encoded_inputs] for key in first}
        batch = {key: as_lists(values) for key, values in encoded_inputs.items()}
        if "input_ids" not in batch:
            raise ValueError(f"pad: expected input_ids, got {', '.join(batch) or 'nothing'}")
        is_single = bool(batch["input_ids"]) and not isinstance(batch["input_ids"][0], list)
        if is_single:
            batch = {key: [values] for key, values in batch.items()}
        if return_attention_mask and "attention_mask" not in batch:
            batch["attention_mask"] = [[1] * len(ids) for ids in batch["input_ids"]]
        return self._pad_and_convert(
            batch, is_single, padding, max_length, pad_to_multiple_of, padding_side, return_tensors
        )

    def _build_sequence(
        self, texts: list[list[Token]], lang: str | None, limit: int | None, cut: str, stride: int, special: bool
    ) -> dict[str, Any]:
        """Build the sequence of one row, with every value that `__call__` can return."""
        sizes = [len(text) for text in texts]
        num_special = self.num_special_tokens_to_add(len(texts) == 2) if special else 0
        num_excess = 0 if limit is None else max(sum(sizes) + num_special - limit, 0)
        kept = truncated_sizes(sizes, num_excess, cut) if num_excess else sizes
        tokens = [Token(self.bos_token_id)] if special else []
        types, cut_off = list[int](), list[int]()
        for number, (text, size) in enumerate(zip(texts, kept, strict=True)):
            tokens += text[:size]
            if special:
                tokens.append(Token(self.sep_token_id))
            types += [number if special else 0] * (len(tokens) - len(types))
            if size < len(text):
                cut_off = [token.id for token in text[max(size - stride, 0) :]]
        return {
            "input_ids": [token.id for token in tokens],
            "attention_mask": [1] * len(tokens),
            "langs": [-1 if lang is None else self.lang2id.get(lang, -1)] * len(tokens),
            "token_type_ids": types,
            "special_tokens_mask": [int(token.is_special) for token in tokens],
            "offset_mapping": [(token.start, token.end) for token in tokens],
            "length": len(tokens),
            "overflowing_tokens": cut_off,
            "num_truncated_tokens": num_excess,
        }

    def _require_length(self, argument: str, max_length: int | None) -> int:
        limit = self.model_max_length if max_length is None else max_length
        if limit >= NO_MAX_LENGTH:
            raise ValueError(f"{argument} needs max_length: this checkpoint has no model_max_length")
        return limit

    def _pad_and_convert(
        self,
        batch: dict[str, Any],
        is_single: bool,
        padding: bool | Padding,
        max_length: int | None,
        pad_to_multiple_of: int | None,
        padding_side: PaddingSide | None,
        return_tensors: ArrayKind | None,
    ) -> BatchEncoding:
        """Pad a batch of lists, and convert it to the requested kind of arrays."""
        result = BatchEncoding(batch)
        pad = _resolve_option("padding", padding, "longest", get_args(Padding))
        side = padding_side or self.padding_side
        check_choice("padding_side", side, PaddingSide)
        multiple = 1 if pad_to_multiple_of is None else pad_to_multiple_of
        check_positive("pad_to_multiple_of", multiple)
        if return_tensors is not None:
            check_choice("return_tensors", return_tensors, ArrayKind)
        if pad != "do_not_pad":
            longest = max(map(len, batch["input_ids"]), default=0)
            length = longest if pad == "longest" else self._require_length("padding", max_length)
            length = -(-length // multiple) * multiple
            result = pad_batch(batch, self.pad_token_id, length, side)
        if return_tensors is not None:
            return as_arrays(result, return_tensors)
        return BatchEncoding({key: values[0] for key, values in result.items()}) if is_single else result


def _resolve_option(name: str, value: bool | str, default: str, choices: tuple[str, ...]) -> str:
    """Resolve True to the default and False to the last choice, and check other values."""
    resolved = value if isinstance(value, str) else default if value else choices[-1]
    if resolved not in choices:
        raise ValueError(f"{name}: got {value!r}, expected True, False or one of {', '.join(choices)}")
    return resolved


def _as_rows(text: Any, text_pair: Any, is_split_into_words: bool) -> tuple[bool, list[tuple[Text, ...]]]:
    """Return whether the input is a single row, and its rows as tuples of one or two texts."""

    def is_text(value: Any) -> bool:
        if is_split_into_words:
            return not isinstance(value, str) and all(isinstance(word, str) for word in value)
        return isinstance(value, str)

    is_single = is_text(text)
    columns: list[Any] = [text] if text_pair is None else [text, text_pair]
    if is_single:
        columns = [[column] for column in columns]
    elif isinstance(text_pair, str):  # its characters would be taken for texts
        raise ValueError(f"text_pair: got one string, expected a list with one text for each of {len(text)} rows")
    for column in columns:
        invalid = [f"row {i} is a {type(value).__name__}" for i, value in enumerate(column) if not is_text(value)]
        if invalid:
            expected = (
                "lists of words" if is_split_into_words else "strings (or is_split_into_words for lists of words)"
            )
            raise ValueError(f"text and text_pair: expected {expected}, but {invalid[0]}")
    if len({len(column) for column in columns}) > 1:
        raise ValueError(f"text_pair: expected one text for each of {len(columns[0])} rows, got {len(columns[1])}")
    return is_single, list(zip(*columns, strict=True))
