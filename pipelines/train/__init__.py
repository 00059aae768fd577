"""Train what a checkpoint consists of, on Ray."""

from typing import TYPE_CHECKING

from xlm_core.lazy_names import lazy_names

if TYPE_CHECKING:
    from pipelines.train.vocabulary import VocabularySettings, learn_vocabulary

__all__ = ["VocabularySettings", "learn_vocabulary"]

_MODULES = {"VocabularySettings": "vocabulary", "learn_vocabulary": "vocabulary"}  # the module of each name

__getattr__ = lazy_names(__name__, _MODULES)
