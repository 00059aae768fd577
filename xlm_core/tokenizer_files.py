"""The files that make a checkpoint's tokenizer: `vocab.json`, `merges.txt`, `tokenizer_config.json` and older kin."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from xlm_core.bpe import read_merges
from xlm_core.errors import TokenizerError

if TYPE_CHECKING:
    from pathlib import Path

SPECIAL_TOKENS = {
    "unk_token": "<unk>",
    "bos_token": "<s>",
    "sep_token": "</s>",
    "pad_token": "<pad>",
    "cls_token": "</s>",
    "mask_token": "<special1>",
}
ADDITIONAL_SPECIAL_TOKENS = [f"<special{i}>" for i in range(10)]


class TokenizerFiles(NamedTuple):
    """What the files say, checked; see `XLMTokenizer` for what each is."""

    vocab: dict[str, int]
    merges: dict[tuple[str, ...], int]
    lang2id: dict[str, int]
    lowercase: bool
    special_tokens: dict[str, str]
    additional_special_tokens: list[str]


def read_tokenizer_files(path: Path) -> TokenizerFiles:
    """Read a checkpoint directory.

    Languages come from `tokenizer_config.json`, and where that names none, from `config.json`. Special tokens come from
    `tokenizer_config.json`, then `special_tokens_map.json`, then what XLM always had.

    Raises:
        TokenizerError: a file is missing or is not what its name says.
    """
    own = _read_json_object(path / "tokenizer_config.json", optional=True)
    settings = _read_json_object(path / "special_tokens_map.json", optional=True) | own
    vocab = _read_json_object(path / "vocab.json")
    if not all(type(i) is int and 0 <= i < 2**31 for i in vocab.values()):
        raise TokenizerError(f"{path / 'vocab.json'}: expected an object of token to whole-number id, from 0")
    lang2id = settings.get("lang2id") or _read_json_object(path / "config.json", optional=True).get("lang2id") or {}
    if not isinstance(lang2id, dict) or not all(type(i) is int for i in lang2id.values()):
        raise TokenizerError(f"{path}: lang2id: got {lang2id!r}, expected an object of language to whole-number id")
    _check_added(path, settings, vocab)
    more = settings.get("additional_special_tokens", settings.get("extra_special_tokens", ADDITIONAL_SPECIAL_TOKENS))
    if isinstance(more, dict):
        more = list(cast("dict[str, Any]", more).values())
    return TokenizerFiles(
        vocab,
        read_merges(path / "merges.txt"),
        cast("dict[str, int]", lang2id),
        bool(settings.get("do_lowercase_and_remove_accent", True)),
        {role: _token_text(path, settings[role]) for role in SPECIAL_TOKENS if settings.get(role) is not None},
        [_token_text(path, token) for token in more or []],
    )


def _read_json_object(path: Path, *, optional: bool = False) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if optional:
            return {}
        raise TokenizerError(f"{path}: no such file; a checkpoint's tokenizer is vocab.json and merges.txt") from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise TokenizerError(f"{path}: not JSON ({error}); fetch the checkpoint again") from None
    if not isinstance(value, dict):
        raise TokenizerError(f"{path}: expected a JSON object, got {type(value).__name__}")
    return value


def _token_text(path: Path, token: Any) -> str:
    text = token.get("content") if isinstance(token, dict) else token
    if not isinstance(text, str):
        raise TokenizerError(f"{path}: a special token is {token!r}; expected its text")
    return text


def _check_added(path: Path, settings: dict[str, Any], vocab: dict[str, int]) -> None:
    """Refuse tokens that were added to a checkpoint beside its vocabulary: no text would be cut at them here."""
    added = {str(token): i for token, i in _read_json_object(path / "added_tokens.json", optional=True).items()}
    added |= {_token_text(path, token): int(i) for i, token in (settings.get("added_tokens_decoder") or {}).items()}
    strange = sorted(token for token, i in added.items() if vocab.get(token) != i)
    if strange:
        raise TokenizerError(
            f"{path}: has added tokens that vocab.json lacks ({', '.join(strange[:5])}), which are not supported; use "
            "the checkpoint that they were added to"
        )
