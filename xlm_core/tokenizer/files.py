"""The files that make a checkpoint's tokenizer: `vocab.json`, `merges.txt`, `tokenizer_config.json` and older kin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast

from xlm_core.errors import TokenizerError, shown
from xlm_core.files.json_files import read_json_object
from xlm_core.tokenizer.bpe import read_merges
from xlm_core.tokenizer.original_release import LOWERCASE, read_original_tokenizer

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
    own = read_json_object(path / "tokenizer_config.json", TokenizerError, optional=True)
    if lowercase is not None and own.setdefault(LOWERCASE, lowercase) != lowercase:
        raise TokenizerError(
            f"{path / 'tokenizer_config.json'}: {LOWERCASE} is {shown(own[LOWERCASE])}, not {lowercase}"
        )
    settings = read_json_object(path / "special_tokens_map.json", TokenizerError, optional=True) | own
    config = read_json_object(path / "config.json", TokenizerError, optional=True)
    langs = settings.get("lang2id") or config.get("lang2id")
    lowers = _flag(path, settings, LOWERCASE)
    has_vocab = (path / "vocab.json").exists()
    if not has_vocab and (original := read_original_tokenizer(path, lowers)) is not None:
        vocab, merges_file, lang2id = original.vocab, original.merges_file, langs or original.lang2id or {}
    else:
        vocab = read_json_object(path / "vocab.json", TokenizerError)
        merges_file, lang2id = path / "merges.txt", langs or {}
    if not all(map(_is_id, vocab.values())):
        raise TokenizerError(f"{path / 'vocab.json'}: expected an object of token to whole-number id, from 0")
    if not isinstance(lang2id, dict) or not all(map(_is_id, lang2id.values())):
        raise TokenizerError(
            f"{path}: lang2id: got {shown(lang2id)}, expected an object of language to whole-number id, from 0"
        )
    _check_added(path, settings, vocab)
    more = settings.get("additional_special_tokens", settings.get("extra_special_tokens", ADDITIONAL_SPECIAL_TOKENS))
    if isinstance(more, dict):
        more = list(cast("dict[str, Any]", more).values())
    if not isinstance(more, list | None):
        raise TokenizerError(f"{path}: additional_special_tokens: got {shown(more)}, expected a list of tokens")
    return TokenizerFiles(
        vocab,
        read_merges(merges_file),
        cast("dict[str, int]", lang2id),
        True if lowers is None else lowers,
        {role: _token_text(path, settings[role]) for role in ROLES if settings.get(role) is not None},
        [_token_text(path, token) for token in more or []],
        *_call_settings(path / "tokenizer_config.json", own),
    )


def _call_settings(path: Path, own: dict[str, Any]) -> tuple[int, Literal["right", "left"], bool]:
    """Give what a checkpoint says of lengths, pads and decoding."""
    length, side = own.get("model_max_length"), own.get("padding_side", "right")
    if length is None:
        length = NO_MAX_LENGTH
    if type(length) not in (int, float) or length < 1 or length % 1 != 0:  # infinity and NaN leave NaN
        raise TokenizerError(f"{path}: model_max_length: got {shown(length)}, expected a whole number, at least 1")
    if side not in ("right", "left"):
        raise TokenizerError(f"{path}: padding_side: got {shown(side)}, expected right or left")
    if own.get("truncation_side", "right") != "right":
        raise TokenizerError(
            f"{path}: truncation_side: got {shown(own['truncation_side'])}; long texts are only ever cut at their end"
            " here"
        )
    return int(length), side, bool(_flag(path, own, "clean_up_tokenization_spaces"))


def _flag(path: Path, settings: dict[str, Any], name: str) -> bool | None:
    """Give a setting that is true or false, or None where it is not there; "false", a string, would count as true."""
    value = settings.get(name)
    if name in settings and not isinstance(value, bool):
        raise TokenizerError(f"{path}: {name}: got {shown(value)}, expected true or false")
    return value


def _is_id(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**31


def _token_text(path: Path, token: Any) -> str:
    text = token.get("content") if isinstance(token, dict) else token
    if not isinstance(text, str):
        raise TokenizerError(f"{path}: a special token is {shown(token)}; expected its text")
    return text


def _check_added(path: Path, settings: dict[str, Any], vocab: dict[str, int]) -> None:
    """Refuse tokens that were added to a checkpoint beside its vocabulary: no text would be cut at them here."""
    added = read_json_object(path / "added_tokens.json", TokenizerError, optional=True)
    decoder = settings.get("added_tokens_decoder") or {}
    if not isinstance(decoder, dict):
        raise TokenizerError(f"{path}: added_tokens_decoder: got {shown(decoder)}, expected an object of id to token")
    texts = {_token_text(path, token): i for i, token in cast("dict[str, Any]", decoder).items()}
    strange = [token for token, i in added.items() if vocab.get(token) != i]
    strange += [token for token, i in texts.items() if str(vocab.get(token)) != i]
    if strange:
        named = ", ".join(map(shown, sorted(strange)[:5]))
        raise TokenizerError(
            f"{path}: has added tokens that vocab.json lacks ({named}), which are not supported; use the checkpoint"
            " that they were added to"
        )
