"""Train models, heads and vocabularies on Ray."""

from typing import TYPE_CHECKING

from xlm_core.lazy_names import lazy_names

if TYPE_CHECKING:
    from pipelines.train.execute import train
    from pipelines.train.prepare import PreparedTraining, prepare_training
    from pipelines.train.vocabulary import VocabularySettings, learn_vocabulary

__all__ = ["PreparedTraining", "VocabularySettings", "learn_vocabulary", "prepare_training", "train"]

_MODULES = {  # the module of each name
    "PreparedTraining": "prepare",
    "VocabularySettings": "vocabulary",
    "learn_vocabulary": "vocabulary",
    "prepare_training": "prepare",
    "train": "execute",
}

__getattr__ = lazy_names(__name__, _MODULES)
