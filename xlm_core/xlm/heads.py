"""The heads of a loaded model. Each is checked and loaded on first use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast

from xlm_core.builtin import checkpoint_directory
from xlm_core.checkpoint import PretrainedModule, trunk_hash
from xlm_core.errors import FatalError
from xlm_core.heads import LanguageModelHead
from xlm_core.inference import load_head, load_language_model_head, read_head_config

if TYPE_CHECKING:
    from pathlib import Path

    from xlm_core.inference import Model

HeadT = TypeVar("HeadT", bound=PretrainedModule)


class LoadedHeads:
    """Loads heads from the trunk's checkpoint, or from directories with or without a trunk of their own."""

    def __init__(self, model: Model):
        self._model = model
        self._loaded: dict[tuple[type[Any], Path], PretrainedModule] = {}
        self._trunk_hash: str | None = None

    def folder(self, head: str | Path | None) -> Path:
        """Return the directory of a head: the trunk's if `head` is None."""
        checkpoint = self._model.checkpoint
        if head is None:
            return checkpoint
        folder = checkpoint_directory(head).resolve()
        return checkpoint if folder == checkpoint.resolve() else folder

    def load(self, task: str, head_class: type[HeadT], folder: Path) -> HeadT:
        """Return a head.

        Args:
            task: the name of the task, for messages.
            head_class: its class.
            folder: from `folder`.

        Raises:
            FatalError: the head is missing, does not fit the trunk, or was trained with another trunk.
        """
        key = head_class, folder
        if key not in self._loaded:
            read_head_config(task, cast("Any", head_class.kind), folder, self._model.trunk.config)
            self._check_trunk(folder)
            if issubclass(head_class, LanguageModelHead):
                self._loaded[key] = load_language_model_head(folder, self._model)
            else:
                self._loaded[key] = load_head(head_class, folder, self._model)
        return cast("HeadT", self._loaded[key])

    def _check_trunk(self, folder: Path) -> None:
        """Refuse a head whose directory contains another trunk, because its results would have no meaning."""
        checkpoint = self._model.checkpoint
        if folder == checkpoint or (found := trunk_hash(folder)) is None:
            return
        self._trunk_hash = self._trunk_hash or trunk_hash(checkpoint)
        if found != self._trunk_hash:
            raise FatalError(
                f"{folder}: this head was trained with another trunk than {checkpoint}; load that directory, or name a "
                "head of this checkpoint"
            )
