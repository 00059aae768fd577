"""Writing the files that make a checkpoint's tokenizer; the reference reads them as well."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from xlm_core.tokenizer.original_release import LOWERCASE

if TYPE_CHECKING:
    from pathlib import Path

    from xlm_core.tokenizer.files import TokenizerFiles


def write_tokenizer_files(path: Path, files: TokenizerFiles) -> list[Path]:
    """Write `vocab.json`, `merges.txt`, `tokenizer_config.json` and `special_tokens_map.json`.

    Counts of merges are not written: no reader uses them. What is read back gives the same ids for every text.

    Args:
        path: a directory, made where it is not there; files of these names are replaced.
        files: what to write.

    Returns:
        The four paths.
    """
    special: dict[str, Any] = dict(files.special_tokens)
    special["additional_special_tokens"] = files.additional_special_tokens
    settings: dict[str, Any] = {
        "tokenizer_class": "XLMTokenizer",
        LOWERCASE: files.lowercase,
        "model_max_length": files.model_max_length,
        "padding_side": files.padding_side,
        "clean_up_tokenization_spaces": files.clean_up_tokenization_spaces,
        **special,
    }
    if files.lang2id:
        settings["lang2id"] = files.lang2id
        settings["id2lang"] = {str(i): lang for lang, i in files.lang2id.items()}
    merges = sorted(files.merges, key=files.merges.__getitem__)
    texts = {
        "vocab.json": _json(files.vocab),
        "merges.txt": "".join(" ".join(pair) + "\n" for pair in merges),
        "tokenizer_config.json": _json(settings),
        "special_tokens_map.json": _json(special),
    }
    path.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        # half a surrogate pair, which a vocabulary may hold, is written as JSON escapes it
        (path / name).write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")
    return [path / name for name in texts]


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2) + "\n"
