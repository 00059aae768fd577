"""Train models, heads and vocabularies on Ray."""

from typing import TYPE_CHECKING

from xlm_core.lazy_names import lazy_names

if TYPE_CHECKING:
    from pipelines.train.execute import train
    from pipelines.train.execute_vocabulary import train_vocabulary
    from pipelines.train.prepare import PreparedTraining, prepare_training
    from pipelines.train.vocabulary import learn_vocabulary

__all__ = ["PreparedTraining", "learn_vocabulary", "prepare_training", "train", "train_vocabulary"]

_MODULES = {  # the module of each name; only `prepare` does not import Ray
    "PreparedTraining": "prepare",
    "learn_vocabulary": "vocabulary",
    "prepare_training": "prepare",
    "train": "execute",
    "train_vocabulary": "execute_vocabulary",
}

__getattr__ = lazy_names(__name__, _MODULES)
