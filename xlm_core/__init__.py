"""XLM (Lample and Conneau 2019) as a library: tokenizer, packed model, heads, checkpoints. It does not depend on Ray.

    from xlm_core import XLMModel, XLMTokenizer

Each name is imported on first use, because processes that only tokenize must not import torch.
"""

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from xlm_core.lazy_names import lazy_names

if TYPE_CHECKING:
    from xlm_core.checkpoint import XLMConfig, check_checkpoint, content_hash, trunk_hash
    from xlm_core.errors import CheckpointError, FatalError, InferenceError, TokenizerError
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
    from xlm_core.model import PackedBatch
    from xlm_core.ragged import plan_batches, take_ragged
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
    from xlm_core.xlm import XLM

    __version__: str

__all__ = [
    "POOLINGS",
    "XLM",
    "BatchEncoding",
    "BeamAnswers",
    "CheckpointError",
    "Encoding",
    "FatalError",
    "GenerationSettings",
    "InferenceError",
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
    "BatchEncoding": "reference",
    "BeamAnswers": "heads",
    "CheckpointError": "errors",
    "Encoding": "tokenizer",
    "FatalError": "errors",
    "GenerationSettings": "generation",
    "InferenceError": "errors",
    "LanguageModelHead": "heads",
    "MultipleChoiceHead": "heads",
    "POOLINGS": "heads",
    "PackedBatch": "model",
    "QuestionAnsweringHead": "heads",
    "QuestionAnsweringSimpleHead": "heads",
    "Segmenters": "text",
    "SequenceClassificationHead": "heads",
    "TokenClassificationHead": "heads",
    "TokenizerError": "errors",
    "XLM": "xlm",
    "XLMConfig": "checkpoint",
    "XLMForMultipleChoice": "reference",
    "XLMForQuestionAnswering": "reference",
    "XLMForQuestionAnsweringSimple": "reference",
    "XLMForSequenceClassification": "reference",
    "XLMForTokenClassification": "reference",
    "XLMModel": "reference",
    "XLMTokenizer": "reference",
    "XLMWithLMHeadModel": "reference",
    "check_checkpoint": "checkpoint",
    "content_hash": "checkpoint",
    "generate": "generation",
    "perplexity": "generation",
    "plan_batches": "ragged",
    "score_causal": "generation",
    "score_masked": "generation",
    "sum_scores": "generation",
    "take_ragged": "ragged",
    "trunk_hash": "checkpoint",
}


_get_name = lazy_names(__name__, _MODULES)


def __getattr__(name: str) -> Any:
    return version("xlm-batch") if name == "__version__" else _get_name(name)


def __dir__() -> list[str]:
    return __all__
