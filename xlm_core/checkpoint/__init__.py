"""Checkpoint directories: strict loading, checking, saving, and what they hold."""

from xlm_core.checkpoint.contents import Contents, contents
from xlm_core.checkpoint.matching import check_checkpoint
from xlm_core.checkpoint.pretrained import PretrainedModule
from xlm_core.checkpoint.trunk_hash import trunk_hash
from xlm_core.checkpoint.writing import write_checkpoint

__all__ = [
    "Contents",
    "PretrainedModule",
    "check_checkpoint",
    "contents",
    "trunk_hash",
    "write_checkpoint",
]
