"""The files that make a checkpoint's tokenizer: `vocab.json`, `merges.txt`, `tokenizer_config.json` and older kin."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast

from xlm_core.bpe import read_merges
from xlm_core.errors import TokenizerError
from xlm_core.original_tokenizer import LOWERCASE, read_original_tokenizer

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
ROLES = (*SPECIAL_TOKENS, "eos_token")  # XLM's own checkpoints give the last one to no token

NO_MAX_LENGTH = int(1e30)  # what the reference writes where a checkpoint has no limit


class TokenizerFiles(NamedTuple):
    """What the files say, checked; see `XLMTokenizer` for what each is."""

    vocab: dict[str, int]
    merges: dict[tuple[str, ...], int]
    lang2id: dict[str, int]
    lowercase: bool
    special_tokens: dict[str, str]
    additional_special_tokens: list[str]
    model_max_length: int = NO_MAX_LENGTH
    padding_side: Literal["right", "left"] = "right"
    clean_up_tokenization_spaces: bool = False


def read_tokenizer_files(path: Path, lowercase: bool | None = None) -> TokenizerFiles:
    """Read a checkpoint directory, in the field-standard layout or of the original release.

    Languages come from `tokenizer_config.json`, and where that names none, from `config.json`. Special tokens come from
    `tokenizer_config.json`, then `special_tokens_map.json`, then what XLM always had.

    Args:
        path: the directory.
        lowercase: whether texts lose their capitals and accents, for a checkpoint that does not say it.

    Raises:
        TokenizerError: a file is missing or is not what its name says, or it says the contrary of `lowercase`.
        CheckpointError: the `.pth` of an original release cannot be used.
    """
    own = _read_json_object(path / "tokenizer_config.json", optional=True)
    if lowercase is not None and own.setdefault(LOWERCASE, lowercase) != lowercase:
        raise TokenizerError(f"{path / 'tokenizer_config.json'}: {LOWERCASE} is {own[LOWERCASE]}, not {lowercase}")
    settings = _read_json_object(path / "special_tokens_map.json", optional=True) | own
    langs = settings.get("lang2id") or _read_json_object(path / "config.json", optional=True).get("lang2id")
    has_vocab = (path / "vocab.json").exists()
    if not has_vocab and (original := read_original_tokenizer(path, settings.get(LOWERCASE))) is not None:
        vocab, merges_file, lang2id = original.vocab, original.merges_file, langs or original.lang2id or {}
    else:
        vocab, merges_file, lang2id = _read_json_object(path / "vocab.json"), path / "merges.txt", langs or {}
    if not all(type(i) is int and 0 <= i < 2**31 for i in vocab.values()):
        raise TokenizerError(f"{path / 'vocab.json'}: expected an object of token to whole-number id, from 0")
    if not isinstance(lang2id, dict) or not all(type(i) is int for i in lang2id.values()):
        raise TokenizerError(f"{path}: lang2id: got {lang2id!r}, expected an object of language to whole-number id")
    _check_added(path, settings, vocab)
    more = settings.get("additional_special_tokens", settings.get("extra_special_tokens", ADDITIONAL_SPECIAL_TOKENS))
    if isinstance(more, dict):
        more = list(cast("dict[str, Any]", more).values())
    return TokenizerFiles(
        vocab,
        read_merges(merges_file),
        cast("dict[str, int]", lang2id),
        bool(settings.get(LOWERCASE, True)),
        {role: _token_text(path, settings[role]) for role in ROLES if settings.get(role) is not None},
        [_token_text(path, token) for token in more or []],
        *_call_settings(path / "tokenizer_config.json", own),
    )


def _call_settings(path: Path, own: dict[str, Any]) -> tuple[int, Literal["right", "left"], bool]:
    """Give what a checkpoint says of lengths, pads and decoding."""
    length, side = own.get("model_max_length") or NO_MAX_LENGTH, own.get("padding_side", "right")
    if not isinstance(length, int | float):
        raise TokenizerError(f"{path}: model_max_length: got {length!r}, expected a number of tokens")
    if side not in ("right", "left"):
        raise TokenizerError(f"{path}: padding_side: got {side!r}, expected right or left")
    if own.get("truncation_side", "right") != "right":
        raise TokenizerError(
            f"{path}: truncation_side: got {own['truncation_side']!r}; long texts are only ever cut at their end here"
        )
    return int(length), side, bool(own.get("clean_up_tokenization_spaces", False))


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
