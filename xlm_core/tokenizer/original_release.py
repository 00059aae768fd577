"""The tokenizer of an original release: the vocabulary in its `.pth`, and the merges in the `codes` file beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from xlm_core.checkpoint.files import codes_files, find_original
from xlm_core.errors import TokenizerError

if TYPE_CHECKING:
    from pathlib import Path

LOWERCASE = "do_lowercase_and_remove_accent"


class OriginalTokenizer(NamedTuple):
    """What takes the place of `vocab.json`, `merges.txt` and the languages of `config.json`."""

    vocab: dict[str, int]
    merges_file: Path
    lang2id: Any  # as it stands in the file, unchecked


def read_original_tokenizer(path: Path, lowercase: object) -> OriginalTokenizer | None:
    """Read the tokenizer of an original release, or give None for a directory that is none.

    Args:
        path: the checkpoint directory.
        lowercase: what its user states on lower-casing; None for nothing, which is an error, since of the released
            models some were trained on lower-cased texts without accents and some were not, and no file says which.

    Raises:
        TokenizerError: it is not stated, or there is not one `codes` file.
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
    from xlm_core.checkpoint.formats import read_original  # loads torch

    original = read_original(file)
    if lowercase is None:
        num_capitals = sum(token != token.lower() for token in original.vocab)
        raise TokenizerError(
            f"{file}: does not say whether its texts were lower-cased and lost their accents (of its"
            f" {len(original.vocab)} tokens {num_capitals} hold capitals); say so in tokenizer_config.json beside it,"
            f' as {{"{LOWERCASE}": true}} or false, or convert it with xlm convert --lowercase or --cased'
        )
    return OriginalTokenizer(original.vocab, path / codes[0], original.settings.get("lang2id"))
