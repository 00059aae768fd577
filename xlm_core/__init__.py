"""XLM (Lample and Conneau 2019) as a library: tokenizer, packed model, heads, checkpoints. It knows no cluster."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xlm_core.checkpoint import check_checkpoint, trunk_hash
    from xlm_core.checkpoint.config import XLMConfig
    from xlm_core.checkpoint.content_hash import content_hash
    from xlm_core.errors import CheckpointError, FatalError, TokenizerError
    from xlm_core.generation.generate import GenerationSettings, generate
    from xlm_core.generation.scoring import perplexity, score_causal, score_masked, sum_scores
    from xlm_core.heads import (
        POOLINGS,
        BeamAnswers,
        LanguageModelHead,
        MultipleChoiceHead,
        QuestionAnsweringHead,
        QuestionAnsweringSimpleHead,
        SequenceClassificationHead,
        TokenClassificationHead,
        XLMForMultipleChoice,
        XLMForQuestionAnswering,
        XLMForQuestionAnsweringSimple,
        XLMForSequenceClassification,
        XLMForTokenClassification,
        XLMWithLMHeadModel,
    )
    from xlm_core.model.packing import PackedBatch, plan_batches, take_ragged
    from xlm_core.model.trunk import XLMModel
    from xlm_core.reference.batch_encoding import BatchEncoding
    from xlm_core.text.segment import Segmenters
    from xlm_core.tokenizer.sequences import Encoding
    from xlm_core.tokenizer.tokenizer import XLMTokenizer

__all__ = [
    "POOLINGS",
    "BatchEncoding",
    "BeamAnswers",
    "CheckpointError",
    "Encoding",
    "FatalError",
    "GenerationSettings",
    "LanguageModelHead",
    "MultipleChoiceHead",
    "PackedBatch",
    "QuestionAnsweringHead",
    "QuestionAnsweringSimpleHead",
    "Segmenters",
    "SequenceClassificationHead",
    "TokenClassificationHead",
    "TokenizerError",
    "XLMConfig",
    "XLMForMultipleChoice",
    "XLMForQuestionAnswering",
    "XLMForQuestionAnsweringSimple",
    "XLMForSequenceClassification",
    "XLMForTokenClassification",
    "XLMModel",
    "XLMTokenizer",
    "XLMWithLMHeadModel",
    "check_checkpoint",
    "content_hash",
    "generate",
    "perplexity",
    "plan_batches",
    "score_causal",
    "score_masked",
    "sum_scores",
    "take_ragged",
    "trunk_hash",
]

# Where the names come from, those without torch first. Each is loaded when it is first asked for: a cluster has many
# processes that only tokenize, and torch is 2 s and 150 MB in each.
_MODULES = (
    "errors",
    "checkpoint.config",
    "checkpoint.content_hash",
    "tokenizer.sequences",
    "text.segment",
    "reference.batch_encoding",
    "tokenizer.tokenizer",
    "model.packing",
    "checkpoint",
    "model.trunk",
    "heads",
    "generation.generate",
    "generation.scoring",
)


def __getattr__(name: str) -> Any:
    if name in __all__:
        for module in map(import_module, (f"{__name__}.{module}" for module in _MODULES)):
            if hasattr(module, name):
                return getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
