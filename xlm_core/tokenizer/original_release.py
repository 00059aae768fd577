"""The tokenizer of an original release: the vocabulary in its `.pth`, and the merges in its `codes` file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from xlm_core.checkpoint import codes_files, find_original
from xlm_core.errors import TokenizerError
from xlm_core.tokenizer.bpe import END_OF_WORD

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_NOT_LAST = "@@"
_LAST_SPECIAL_ID = 13  # <s> </s> <pad> <unk> <special0> … <special9>; they have no mark

LOWERCASE_KEY = "do_lowercase_and_remove_accent"


class OriginalTokenizer(NamedTuple):
    """What the standard layout has in `vocab.json`, `merges.txt` and the `lang2id` of `config.json`."""

    vocab: dict[str, int]
    merges_file: Path
    lang2id: Any  # as in the file, not validated


def read_original_tokenizer(path: Path, lowercase: object) -> OriginalTokenizer | None:
    """Read the tokenizer of an original release; return None for other directories.

    Args:
        path: the checkpoint directory.
        lowercase: the user's setting of lower-casing. None is an error: some of the released models were trained on
            lower-cased texts without accents and some were not, and their files do not record which.

    Raises:
        TokenizerError: `lowercase` is None, or the directory does not have exactly one `codes` file.
        CheckpointError: the `.pth` cannot be used.
    """
    file = find_original(path) if path.is_dir() else None
    if file is None:
        return None
    codes = codes_files([other.name for other in path.iterdir()])
    if len(codes) != 1:
        raise TokenizerError(
            f"{path}: expected one codes file, the merges that were released with {file.name};"
            f" got {', '.join(codes) or 'none'}"
        )
    from xlm_core.checkpoint import read_original  # loads torch

    original = read_original(file)
    vocab = _mark_word_ends(original.word2id)
    if lowercase is None:
        num_capitals = sum(token != token.lower() for token in vocab)
        raise TokenizerError(
            f"{file}: does not record whether its training texts were lower-cased without accents ({num_capitals}"
            f" of its {len(vocab)} tokens have capitals); add tokenizer_config.json to the directory with"
            f' {{"{LOWERCASE_KEY}": true}} or false, or convert the checkpoint with xlm convert --lowercase or --cased'
        )
    return OriginalTokenizer(vocab, path / codes[0], original.settings.get("lang2id"))


def _mark_word_ends(word2id: Mapping[str, int]) -> dict[str, int]:
    """Convert the release's marks to this library's: `</w>` on a word's last subword, not `@@` on all others.

    If two entries become the same token, the later id is used.
    """
    vocab: dict[str, int] = {}
    for word, token_id in word2id.items():
        ends = token_id > _LAST_SPECIAL_ID and _NOT_LAST not in word
        vocab[word + END_OF_WORD if ends else word.replace(_NOT_LAST, "")] = token_id
    return vocab
