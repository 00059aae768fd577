"""The common part of the tasks that use the language model head: fill-mask, lm-scoring and text-generation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.tasks.task import ResultT, Task

if TYPE_CHECKING:
    from pathlib import Path

    from xlm_core import LanguageModelHead
    from xlm_core.inference import Model


class LanguageModelTask(Task[ResultT]):
    """A task of the language model head, which predicts tokens of the trunk's vocabulary."""

    _loaded: tuple[Model, LanguageModelHead] | None = None

    def load(self, model: Model, head_folder: Path) -> None:
        """Load the head; see `Task.load`."""
        from xlm_core.inference import load_language_model_head

        self._loaded = model, load_language_model_head(head_folder, model)

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
