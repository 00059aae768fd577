"""Read and write the tokenizer files of a checkpoint: vocabulary, merges and settings."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast

from xlm_core.checkpoint import (
    ADDED_TOKENS_FILE,
    CONFIG_FILE,
    MERGES_FILE,
    SPECIAL_TOKENS_FILE,
    TOKENIZER_CONFIG_FILE,
    VOCAB_FILE,
    find_original,
)
from xlm_core.errors import TokenizerError, format_value
from xlm_core.files import read_json_object
from xlm_core.tokenizer.bpe import read_merges
from xlm_core.tokenizer.original_release import LOWERCASE_KEY, read_original_tokenizer
from xlm_core.tokenizer.plausibility import check_ids, check_merges

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
ALL_SPECIAL_TOKENS = ["<s>", "</s>", "<pad>", "<unk>", *ADDITIONAL_SPECIAL_TOKENS]  # in the order of their ids
ROLES = (*SPECIAL_TOKENS, "eos_token")  # XLM's own checkpoints have no eos_token

NO_MAX_LENGTH = int(1e30)  # what the reference writes for a checkpoint without a limit


class TokenizerFiles(NamedTuple):
    """The validated content of the files; see `PackedTokenizer` for each field.

    `warnings` are for the user: what is unusual in the files.
    """

    vocab: dict[str, int]
    merges: dict[tuple[str, ...], int]
    lang2id: dict[str, int]
    lowercase: bool
    special_tokens: dict[str, str]
    additional_special_tokens: list[str]
    model_max_length: int = NO_MAX_LENGTH
    padding_side: Literal["right", "left"] = "right"
    clean_up_tokenization_spaces: bool = False
    warnings: tuple[str, ...] = ()


def has_tokenizer(path: Path) -> bool:
    """Whether a checkpoint directory contains a tokenizer."""
    return (path / VOCAB_FILE).exists() or find_original(path) is not None


def read_tokenizer_files(path: Path, lowercase: bool | None = None) -> TokenizerFiles:
    """Read the tokenizer of a checkpoint directory, in the standard layout or as an original release.

    Languages come from `tokenizer_config.json` or, if it has none, from `config.json`. Special tokens come from
    `tokenizer_config.json`, then `special_tokens_map.json`, then XLM's defaults.

    Args:
        path: the directory.
        lowercase: whether texts are lower-cased and lose their accents, for a checkpoint that does not record it.

    Raises:
        TokenizerError: a file is missing or malformed.
        CheckpointError: the `.pth` of an original release cannot be used.
    """
    tokenizer_config = read_json_object(path / TOKENIZER_CONFIG_FILE, TokenizerError, optional=True)
    settings = read_json_object(path / SPECIAL_TOKENS_FILE, TokenizerError, optional=True) | tokenizer_config
    config = read_json_object(path / CONFIG_FILE, TokenizerError, optional=True)
    langs = settings.get("lang2id") or config.get("lang2id")
    lower = _flag(path, settings, LOWERCASE_KEY)
    lower = lowercase if lower is None else lower
    has_vocab = (path / VOCAB_FILE).exists()
    if not has_vocab and (original := read_original_tokenizer(path, lower)) is not None:
        vocab, merges_file, lang2id = original.vocab, original.merges_file, langs or original.lang2id or {}
    else:
        vocab = read_json_object(path / VOCAB_FILE, TokenizerError)
        merges_file, lang2id = path / MERGES_FILE, langs or {}
    if not all(map(_is_id, vocab.values())):
        raise TokenizerError(f"{path / VOCAB_FILE}: expected an object of token to whole-number id, from 0")
    if not isinstance(lang2id, dict) or not all(map(_is_id, lang2id.values())):
        raise TokenizerError(
            f"{path}: lang2id: got {format_value(lang2id)}, expected an object of language to whole-number id, from 0"
        )
    _check_lang_ids(path, lang2id, config.get("lang2id"))
    _check_added(path, settings, vocab)
    additional = settings.get(
        "additional_special_tokens", settings.get("extra_special_tokens", ADDITIONAL_SPECIAL_TOKENS)
    )
    if isinstance(additional, dict):
        additional = list(cast("dict[str, Any]", additional).values())
    if not isinstance(additional, list | None):
        raise TokenizerError(
            f"{path}: additional_special_tokens: got {format_value(additional)}, expected a list of tokens"
        )
    check_ids(vocab, str(path / VOCAB_FILE if has_vocab else path))
    merges = read_merges(merges_file)
    special_tokens = {role: _token_text(path, settings[role]) for role in ROLES if settings.get(role) is not None}
    additional = [_token_text(path, token) for token in additional or []]
    return TokenizerFiles(
        vocab,
        merges,
        cast("dict[str, int]", lang2id),
        True if lower is None else lower,
        special_tokens,
        additional,
        *_read_length_settings(path / TOKENIZER_CONFIG_FILE, tokenizer_config),
        tuple(check_merges(vocab, merges, {*special_tokens.values(), *additional}, str(merges_file))),
    )


def write_tokenizer_files(path: Path, files: TokenizerFiles) -> list[Path]:
    """Write `vocab.json`, `merges.txt`, `tokenizer_config.json` and `special_tokens_map.json`.

    The reference can read them too. The counts of merges are not written, because no reader uses them. A tokenizer that
    is read from these files gives the same ids for every text.

    Args:
        path: the directory, created if missing. Existing files of these names are replaced.
        files: the content.

    Returns:
        The four paths.
    """
    special: dict[str, Any] = dict(files.special_tokens)
    special["additional_special_tokens"] = files.additional_special_tokens
    settings: dict[str, Any] = {
        "tokenizer_class": "XLMTokenizer",
        LOWERCASE_KEY: files.lowercase,
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
        VOCAB_FILE: _json(files.vocab),
        MERGES_FILE: "".join(" ".join(pair) + "\n" for pair in merges),
        TOKENIZER_CONFIG_FILE: _json(settings),
        SPECIAL_TOKENS_FILE: _json(special),
    }
    path.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        # A vocabulary may contain half a surrogate pair, which is not valid UTF-8: write it as a JSON escape.
        (path / name).write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")
    return [path / name for name in texts]


def _read_length_settings(path: Path, config: dict[str, Any]) -> tuple[int, Literal["right", "left"], bool]:
    """Read the settings for lengths, padding and decoding."""
    length, side = config.get("model_max_length"), config.get("padding_side", "right")
    if length is None:
        length = NO_MAX_LENGTH
    if type(length) not in (int, float) or length < 1 or length % 1 != 0:  # infinity and NaN leave a remainder of NaN
        raise TokenizerError(
            f"{path}: model_max_length: got {format_value(length)}, expected a whole number, at least 1"
        )
    if side not in ("right", "left"):
        raise TokenizerError(f"{path}: padding_side: got {format_value(side)}, expected right or left")
    if config.get("truncation_side", "right") != "right":
        raise TokenizerError(
            f"{path}: truncation_side: got {format_value(config['truncation_side'])}, expected right; texts are only"
            " truncated at their end"
        )
    return int(length), side, bool(_flag(path, config, "clean_up_tokenization_spaces"))


def _flag(path: Path, settings: dict[str, Any], name: str) -> bool | None:
    """Read a boolean setting; None if it is absent. Rejects strings, because "false" would count as true."""
    value = settings.get(name)
    if name in settings and not isinstance(value, bool):
        raise TokenizerError(f"{path}: {name}: got {format_value(value)}, expected true or false")
    return value


def _is_id(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**31


def _token_text(path: Path, token: Any) -> str:
    text = token.get("content") if isinstance(token, dict) else token
    if not isinstance(text, str):
        raise TokenizerError(f"{path}: a special token is {format_value(token)}; expected its text")
    return text


def _check_lang_ids(path: Path, lang2id: dict[str, Any], in_config: object) -> None:
    """Refuse languages that have another id, and therefore another embedding, in the model's configuration."""
    for lang, lang_id in cast("dict[str, Any]", in_config).items() if isinstance(in_config, dict) else ():
        if lang2id.get(lang, lang_id) != lang_id:
            raise TokenizerError(
                f"{path}: lang2id: got {lang2id[lang]} for {format_value(lang)} in {TOKENIZER_CONFIG_FILE}, expected"
                f" {format_value(lang_id)} as in {CONFIG_FILE}; fetch both files again from the same checkpoint"
            )


def _check_added(path: Path, settings: dict[str, Any], vocab: dict[str, int]) -> None:
    """Refuse tokens that were added to a checkpoint outside of its vocabulary, because texts are not split at them."""
    added = read_json_object(path / ADDED_TOKENS_FILE, TokenizerError, optional=True)
    decoder = settings.get("added_tokens_decoder") or {}
    if not isinstance(decoder, dict):
        raise TokenizerError(
            f"{path}: added_tokens_decoder: got {format_value(decoder)}, expected an object of id to token"
        )
    texts = {_token_text(path, token): i for i, token in cast("dict[str, Any]", decoder).items()}
    unsupported = [token for token, i in added.items() if vocab.get(token) != i]
    unsupported += [token for token, i in texts.items() if str(vocab.get(token)) != i]
    if unsupported:
        named = ", ".join(map(format_value, sorted(unsupported)[:5]))
        raise TokenizerError(
            f"{path}: has added tokens that are not in vocab.json ({named}), which are not supported; use the"
            " checkpoint without them"
        )


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2) + "\n"
