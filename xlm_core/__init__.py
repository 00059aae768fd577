"""XLM (Lample and Conneau 2019) as a library: tokenizer, packed model, heads, checkpoints. It does not depend on Ray.

    from xlm_core import XLMModel, XLMTokenizer

Each name is imported from its module on first use. Importing torch takes 2 s and 150 MB, and processes that only
tokenize must not pay for it.
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xlm_core.checkpoint import XLMConfig, check_checkpoint, content_hash, trunk_hash
    from xlm_core.errors import CheckpointError, FatalError, TokenizerError
    from xlm_core.generation import GenerationSettings, generate, perplexity, score_causal, score_masked, sum_scores
    from xlm_core.heads import (
        POOLINGS,
        BeamAnswers,
        LanguageModelHead,
        MultipleChoiceHead,
        QuestionAnsweringHead,
        QuestionAnsweringSimpleHead,
        SequenceClassificationHead,
        TokenClassificationHead,
    )
    from xlm_core.model import PackedBatch, plan_batches, take_ragged
    from xlm_core.reference import (
        BatchEncoding,
        XLMForMultipleChoice,
        XLMForQuestionAnswering,
        XLMForQuestionAnsweringSimple,
        XLMForSequenceClassification,
        XLMForTokenClassification,
        XLMModel,
        XLMTokenizer,
        XLMWithLMHeadModel,
    )
    from xlm_core.text import Segmenters
    from xlm_core.tokenizer import Encoding

    __version__: str

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

_MODULES = {  # the module of each public name
    "BatchEncoding": "reference.batch_encoding",
    "BeamAnswers": "heads",
    "CheckpointError": "errors",
    "Encoding": "tokenizer.sequences",
    "FatalError": "errors",
    "GenerationSettings": "generation.generate",
    "LanguageModelHead": "heads",
    "MultipleChoiceHead": "heads",
    "POOLINGS": "heads",
    "PackedBatch": "model.packing",
    "QuestionAnsweringHead": "heads",
    "QuestionAnsweringSimpleHead": "heads",
    "Segmenters": "text.segment",
    "SequenceClassificationHead": "heads",
    "TokenClassificationHead": "heads",
    "TokenizerError": "errors",
    "XLMConfig": "checkpoint.config",
    "XLMForMultipleChoice": "reference.for_multiple_choice",
    "XLMForQuestionAnswering": "reference.for_question_answering",
    "XLMForQuestionAnsweringSimple": "reference.for_question_answering",
    "XLMForSequenceClassification": "reference.for_classification",
    "XLMForTokenClassification": "reference.for_classification",
    "XLMModel": "reference.xlm_model",
    "XLMTokenizer": "reference.tokenizer",
    "XLMWithLMHeadModel": "reference.with_lm_head",
    "check_checkpoint": "checkpoint",
    "content_hash": "checkpoint.hash_content",
    "generate": "generation.generate",
    "perplexity": "generation.scoring",
    "plan_batches": "model.packing",
    "score_causal": "generation.scoring",
    "score_masked": "generation.scoring",
    "sum_scores": "generation.scoring",
    "take_ragged": "model.packing",
    "trunk_hash": "checkpoint",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return version("xlm-batch")
    if name in _MODULES:
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
