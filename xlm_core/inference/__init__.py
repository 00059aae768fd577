"""Run a trunk and its heads over the tokens of many rows. Jobs and the class `XLM` compute their results with it.

`model` plans and runs forward passes, `run` repeats them in smaller ones if memory runs out, `collectors` turn their
output into the results of each task, `heads` checks and loads heads, `task_checks` checks that they suit a task, and
`defaults` chooses what its user leaves open.
"""

from typing import TYPE_CHECKING

from xlm_core.lazy_names import lazy_names

if TYPE_CHECKING:
    from xlm_core.inference.collectors import (
        ChoiceCollector,
        Choices,
        ClassificationCollector,
        ContinuationCollector,
        EmbeddingCollector,
        FilledMasks,
        FoundAnswers,
        LabelledSpans,
        MaskCollector,
        Sampling,
        ScoreCollector,
        TaggingCollector,
        TextScores,
        answer_collector,
        rank_labels,
    )
    from xlm_core.inference.defaults import (
        DEFAULT_MAX_LENGTH,
        MIN_LENGTH,
        Precision,
        choose_device,
        choose_precision,
        default_max_length,
        default_max_tokens,
        max_prompt_length,
        warn_of_slow_precision,
    )
    from xlm_core.inference.heads import (
        answering_kind,
        head_labels,
        load_head,
        load_language_model_head,
        read_head_config,
    )
    from xlm_core.inference.model import Model, Pass
    from xlm_core.inference.run import Collector, is_out_of_memory, run_collectors
    from xlm_core.inference.task_checks import (
        PoolingName,
        Problem,
        check_answering,
        check_causal,
        check_classification,
        check_embedding,
        check_masked,
        read_label_scheme,
        trained_problem,
    )

__all__ = [
    "DEFAULT_MAX_LENGTH",
    "MIN_LENGTH",
    "ChoiceCollector",
    "Choices",
    "ClassificationCollector",
    "Collector",
    "ContinuationCollector",
    "EmbeddingCollector",
    "FilledMasks",
    "FoundAnswers",
    "LabelledSpans",
    "MaskCollector",
    "Model",
    "Pass",
    "PoolingName",
    "Precision",
    "Problem",
    "Sampling",
    "ScoreCollector",
    "TaggingCollector",
    "TextScores",
    "answer_collector",
    "answering_kind",
    "check_answering",
    "check_causal",
    "check_classification",
    "check_embedding",
    "check_masked",
    "choose_device",
    "choose_precision",
    "default_max_length",
    "default_max_tokens",
    "head_labels",
    "is_out_of_memory",
    "load_head",
    "load_language_model_head",
    "max_prompt_length",
    "rank_labels",
    "read_head_config",
    "read_label_scheme",
    "run_collectors",
    "trained_problem",
    "warn_of_slow_precision",
]

_MODULES = {  # the module of each name
    "ChoiceCollector": "collectors",
    "Choices": "collectors",
    "ClassificationCollector": "collectors",
    "Collector": "run",
    "ContinuationCollector": "collectors",
    "DEFAULT_MAX_LENGTH": "defaults",
    "EmbeddingCollector": "collectors",
    "FilledMasks": "collectors",
    "FoundAnswers": "collectors",
    "LabelledSpans": "collectors",
    "MIN_LENGTH": "defaults",
    "MaskCollector": "collectors",
    "Model": "model",
    "Pass": "model",
    "PoolingName": "task_checks",
    "Precision": "defaults",
    "Problem": "task_checks",
    "Sampling": "collectors",
    "ScoreCollector": "collectors",
    "TaggingCollector": "collectors",
    "TextScores": "collectors",
    "answer_collector": "collectors",
    "answering_kind": "heads",
    "check_answering": "task_checks",
    "check_causal": "task_checks",
    "check_classification": "task_checks",
    "check_embedding": "task_checks",
    "check_masked": "task_checks",
    "choose_device": "defaults",
    "choose_precision": "defaults",
    "default_max_length": "defaults",
    "default_max_tokens": "defaults",
    "head_labels": "heads",
    "is_out_of_memory": "run",
    "load_head": "heads",
    "load_language_model_head": "heads",
    "max_prompt_length": "defaults",
    "rank_labels": "collectors",
    "read_head_config": "heads",
    "read_label_scheme": "task_checks",
    "run_collectors": "run",
    "trained_problem": "task_checks",
    "warn_of_slow_precision": "defaults",
}

__getattr__ = lazy_names(__name__, _MODULES)
