"""Encode one row at a time, as input of the library's models."""

from typing import Any

from xlm_core import PackedBatch, XLMTokenizer


def encode_row(tokenizer: XLMTokenizer, row: dict[str, Any], *texts: str, **settings: Any) -> PackedBatch:
    """Encode a row's text, or its pair of texts, with the row's language. Long rows give several windows."""
    pairs = [texts[1:]] if len(texts) > 1 else []
    encoding = tokenizer.encode_batch(texts[:1], [row["lang"]], *pairs, **settings)
    langs = [tokenizer.lang2id[tokenizer.resolve_lang(row["lang"])]] * len(encoding)
    return PackedBatch.from_ragged(encoding.input_ids, encoding.cu_seqlens, langs)
