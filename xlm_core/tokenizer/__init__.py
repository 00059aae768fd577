"""Tokenizer of XLM checkpoints: texts to packed sequences of ids, with offsets in the original text."""

from xlm_core.tokenizer.batch_bpe import Pieces
from xlm_core.tokenizer.bpe import END_OF_WORD
from xlm_core.tokenizer.files import (
    ADDITIONAL_SPECIAL_TOKENS,
    ALL_SPECIAL_TOKENS,
    NO_MAX_LENGTH,
    SPECIAL_TOKENS,
    TokenizerFiles,
    has_tokenizer,
    read_tokenizer_files,
    write_tokenizer_files,
)
from xlm_core.tokenizer.original_release import LOWERCASE_KEY
from xlm_core.tokenizer.packed_tokenizer import PackedTokenizer
from xlm_core.tokenizer.plausibility import check_vocab_size
from xlm_core.tokenizer.row_tokens import RowTokens
from xlm_core.tokenizer.sequences import Encoding, Token, truncated_sizes
from xlm_core.tokenizer.subwords import Literal, WordEncoder
from xlm_core.tokenizer.text_encoder import TextEncoder
from xlm_core.tokenizer.vocabulary import as_lists

__all__ = [
    "ADDITIONAL_SPECIAL_TOKENS",
    "ALL_SPECIAL_TOKENS",
    "END_OF_WORD",
    "LOWERCASE_KEY",
    "NO_MAX_LENGTH",
    "SPECIAL_TOKENS",
    "Encoding",
    "Literal",
    "PackedTokenizer",
    "Pieces",
    "RowTokens",
    "TextEncoder",
    "Token",
    "TokenizerFiles",
    "WordEncoder",
    "as_lists",
    "check_vocab_size",
    "has_tokenizer",
    "read_tokenizer_files",
    "truncated_sizes",
    "write_tokenizer_files",
]
