"""The common part of the tasks that use the language model head: fill-mask, lm-scoring and text-generation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipelines.errors import FatalError
from pipelines.tasks.task import Task

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from pipelines.rows import Sequences
    from pipelines.tasks.model import Model
    from pipelines.tasks.task import HeadTaskSettings
    from xlm_core import LanguageModelHead, XLMConfig


class LanguageModelTask(Task):
    """A task of the language model head, which predicts tokens of the trunk's vocabulary."""

    def __init__(self, settings: HeadTaskSettings, trunk: XLMConfig, head: XLMConfig):
        if head.vocab_size != trunk.vocab_size:
            raise FatalError(
                f"{settings.kind}: {settings.head_url} has {head.vocab_size} words, the checkpoint {trunk.vocab_size}; "
                "name a head that was trained on this checkpoint"
            )
        self.trunk_config = trunk
        self._loaded: tuple[Model, LanguageModelHead] | None = None

    def load(self, model: Model, head_folder: Path) -> None:
        """Load the head; see `Task.load`."""
        from pipelines.tasks.model import load_language_model_head

        self._loaded = model, load_language_model_head(model, head_folder)

    @property
    def model(self) -> Model:
        """The loaded trunk."""
        assert self._loaded is not None
        return self._loaded[0]

    @property
    def head(self) -> LanguageModelHead:
        """The loaded head."""
        assert self._loaded is not None
        return self._loaded[1]


def mark_text_tokens(shard: Sequences, *, causal: bool) -> NDArray[np.bool_]:
    """Mark the tokens of a row's texts: bool [T]. A token that is in several windows is marked in one of them.

    Args:
        shard: the sequences, with T tokens.
        causal: whether the model sees only the tokens before each token; decides which window has more context.
    """
    is_text = np.zeros(len(shard.input_ids), np.bool_)
    for text in ("first", "last"):
        is_text[shard.select_tokens(text, causal=causal)] = True
    return is_text
