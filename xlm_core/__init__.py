"""XLM (Lample and Conneau 2019) as a library: tokenizer, packed model, heads, checkpoints. It knows no cluster."""

from xlm_core.checkpoint import check_checkpoint, content_hash, trunk_hash
from xlm_core.config import XLMConfig
from xlm_core.errors import CheckpointError, FatalError, TokenizerError
from xlm_core.heads import (
    POOLINGS,
    SequenceClassificationHead,
    TokenClassificationHead,
    XLMForSequenceClassification,
    XLMForTokenClassification,
)
from xlm_core.model import XLMModel
from xlm_core.packing import PackedBatch, plan_batches, take_ragged
from xlm_core.segment import Segmenters
from xlm_core.tokenizer import Encoding, XLMTokenizer

__all__ = [
    "POOLINGS",
    "CheckpointError",
    "Encoding",
    "FatalError",
    "PackedBatch",
    "Segmenters",
    "SequenceClassificationHead",
    "TokenClassificationHead",
    "TokenizerError",
    "XLMConfig",
    "XLMForSequenceClassification",
    "XLMForTokenClassification",
    "XLMModel",
    "XLMTokenizer",
    "check_checkpoint",
    "content_hash",
    "plan_batches",
    "take_ragged",
    "trunk_hash",
]
