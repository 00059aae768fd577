"""The model: the trunk over packed batches, and its attention."""

from xlm_core.model.attention import ExplicitPlan
from xlm_core.model.copies import Write, to_device
from xlm_core.model.kv_cache import KeyValueCache
from xlm_core.model.linear import Linear
from xlm_core.model.local_init import init_local_attention
from xlm_core.model.packing import PackedBatch
from xlm_core.model.padding import PaddedLayout, pack_padded
from xlm_core.model.run_passes import run_passes
from xlm_core.model.trunk import HiddenStates, Trunk, init_weights

__all__ = [
    "ExplicitPlan",
    "HiddenStates",
    "KeyValueCache",
    "Linear",
    "PackedBatch",
    "PaddedLayout",
    "Trunk",
    "Write",
    "init_local_attention",
    "init_weights",
    "pack_padded",
    "run_passes",
    "to_device",
]
