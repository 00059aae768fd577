"""Checkpoint directories: reading, checking, writing and hashing them."""

from typing import TYPE_CHECKING

from xlm_core.lazy_names import lazy_names

if TYPE_CHECKING:
    from xlm_core.checkpoint.config import XLMConfig
    from xlm_core.checkpoint.contents import CheckpointContents, inspect_checkpoint
    from xlm_core.checkpoint.files import (
        ADDED_TOKENS_FILE,
        CONFIG_FILE,
        MERGES_FILE,
        SPECIAL_TOKENS_FILE,
        TOKENIZER_CONFIG_FILE,
        VOCAB_FILE,
        codes_files,
        find_original,
        needed_files,
        weights_files,
    )
    from xlm_core.checkpoint.finite_weights import check_finite
    from xlm_core.checkpoint.formats import read_original
    from xlm_core.checkpoint.hash_content import content_hash
    from xlm_core.checkpoint.hash_trunk import trunk_hash
    from xlm_core.checkpoint.matching import check_checkpoint
    from xlm_core.checkpoint.names import HeadKind, ModelKind, ModelPart, adaptive_softmax, module_to_file, tied_tensors
    from xlm_core.checkpoint.pretrained import PretrainedModule
    from xlm_core.checkpoint.writing import set_score_temperature, write_checkpoint

__all__ = [
    "ADDED_TOKENS_FILE",
    "CONFIG_FILE",
    "MERGES_FILE",
    "SPECIAL_TOKENS_FILE",
    "TOKENIZER_CONFIG_FILE",
    "VOCAB_FILE",
    "CheckpointContents",
    "HeadKind",
    "ModelKind",
    "ModelPart",
    "PretrainedModule",
    "XLMConfig",
    "adaptive_softmax",
    "check_checkpoint",
    "check_finite",
    "codes_files",
    "content_hash",
    "find_original",
    "inspect_checkpoint",
    "module_to_file",
    "needed_files",
    "read_original",
    "set_score_temperature",
    "tied_tensors",
    "trunk_hash",
    "weights_files",
    "write_checkpoint",
]

_MODULES = {  # the module of each name
    "read_original": "formats",
    "ADDED_TOKENS_FILE": "files",
    "CONFIG_FILE": "files",
    "CheckpointContents": "contents",
    "HeadKind": "names",
    "MERGES_FILE": "files",
    "ModelKind": "names",
    "ModelPart": "names",
    "PretrainedModule": "pretrained",
    "SPECIAL_TOKENS_FILE": "files",
    "TOKENIZER_CONFIG_FILE": "files",
    "VOCAB_FILE": "files",
    "XLMConfig": "config",
    "adaptive_softmax": "names",
    "check_checkpoint": "matching",
    "check_finite": "finite_weights",
    "codes_files": "files",
    "content_hash": "hash_content",
    "find_original": "files",
    "inspect_checkpoint": "contents",
    "module_to_file": "names",
    "needed_files": "files",
    "set_score_temperature": "writing",
    "tied_tensors": "names",
    "trunk_hash": "hash_trunk",
    "weights_files": "files",
    "write_checkpoint": "writing",
}

__getattr__ = lazy_names(__name__, _MODULES)
