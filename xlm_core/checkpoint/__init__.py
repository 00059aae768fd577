"""Checkpoint directories: strict loading, checking, saving, what they hold, and their hashes."""

from xlm_core.checkpoint.contents import Contents, contents
from xlm_core.checkpoint.files import TOKENIZER_FILES, content_hash, needed_files, trunk_hash
from xlm_core.checkpoint.matching import check_checkpoint
from xlm_core.checkpoint.pretrained import PretrainedModule
from xlm_core.checkpoint.writing import write_checkpoint

__all__ = [
    "TOKENIZER_FILES",
    "Contents",
    "PretrainedModule",
    "check_checkpoint",
    "content_hash",
    "contents",
    "needed_files",
    "trunk_hash",
    "write_checkpoint",
]
