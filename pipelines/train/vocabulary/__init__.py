"""Learn vocabulary and merges from a corpus."""

from typing import TYPE_CHECKING

from xlm_core.lazy_names import lazy_names

if TYPE_CHECKING:
    from pipelines.train.vocabulary.learn import learn_vocabulary
    from pipelines.train.vocabulary.settings import VocabularySettings

__all__ = ["VocabularySettings", "learn_vocabulary"]

_MODULES = {"VocabularySettings": "settings", "learn_vocabulary": "learn"}  # only `learn` imports Ray

__getattr__ = lazy_names(__name__, _MODULES)
