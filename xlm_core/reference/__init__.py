"""The interface of the reference, transformers' XLM classes: padded tensors, its arguments and outputs."""

from typing import TYPE_CHECKING

from xlm_core.lazy_names import lazy_names

if TYPE_CHECKING:
    from xlm_core.reference.batch_encoding import BatchEncoding
    from xlm_core.reference.for_classification import XLMForSequenceClassification, XLMForTokenClassification
    from xlm_core.reference.for_multiple_choice import XLMForMultipleChoice
    from xlm_core.reference.for_question_answering import XLMForQuestionAnswering, XLMForQuestionAnsweringSimple
    from xlm_core.reference.tokenizer import XLMTokenizer
    from xlm_core.reference.with_lm_head import XLMWithLMHeadModel
    from xlm_core.reference.xlm_model import XLMModel

__all__ = [
    "BatchEncoding",
    "XLMForMultipleChoice",
    "XLMForQuestionAnswering",
    "XLMForQuestionAnsweringSimple",
    "XLMForSequenceClassification",
    "XLMForTokenClassification",
    "XLMModel",
    "XLMTokenizer",
    "XLMWithLMHeadModel",
]

_MODULES = {  # the module of each name
    "BatchEncoding": "batch_encoding",
    "XLMForMultipleChoice": "for_multiple_choice",
    "XLMForQuestionAnswering": "for_question_answering",
    "XLMForQuestionAnsweringSimple": "for_question_answering",
    "XLMForSequenceClassification": "for_classification",
    "XLMForTokenClassification": "for_classification",
    "XLMModel": "xlm_model",
    "XLMTokenizer": "tokenizer",
    "XLMWithLMHeadModel": "with_lm_head",
}

__getattr__ = lazy_names(__name__, _MODULES)
