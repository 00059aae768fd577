"""Saved states of a training, with which it resumes: files in the output, of which the newest two are kept."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pipelines.errors import FatalError
from xlm_core.training import encode_state, restore_state

if TYPE_CHECKING:
    from pipelines.storage import Location
    from xlm_core.training import Trainer

_NAME = re.compile(r"step-(\d{12})\.safetensors")
_BEST = "best.safetensors"
_KEPT = 2


class States:
    """The states of one training.

    Args:
        folder: where they are saved.
    """

    def __init__(self, folder: Location):
        self._folder = folder

    def newest_step(self) -> int | None:
        """Return the number of steps of the newest state; None if there is none."""
        return max(self._steps(), default=None)

    def save(self, trainer: Trainer, **more: Any) -> None:
        """Save the state, with other values, and delete older ones."""
        (self._folder / _name(trainer.step)).put(encode_state(trainer, **more))
        for step in sorted(self._steps())[:-_KEPT]:
            (self._folder / _name(step)).delete()

    def save_best(self, trainer: Trainer) -> None:
        """Save the state with the lowest loss so far."""
        (self._folder / _BEST).put(encode_state(trainer))

    def restore(self, trainer: Trainer) -> dict[str, Any]:
        """Restore the newest state, and return the other values that were saved with it; none if there is no state."""
        step = self.newest_step()
        return {} if step is None else self._restore(trainer, _name(step))

    def restore_best(self, trainer: Trainer) -> None:
        """Restore the state with the lowest loss."""
        self._restore(trainer, _BEST)

    def _restore(self, trainer: Trainer, name: str) -> dict[str, Any]:
        file = self._folder / name
        try:
            return restore_state(trainer, file.read_bytes())
        except (ValueError, KeyError, RuntimeError):
            raise FatalError(
                f"{file.url}: not a state of this training, or damaged; delete it to resume from an older one"
            ) from None

    def _steps(self) -> list[int]:
        return [int(match[1]) for file in self._folder.list() if (match := _NAME.fullmatch(file.name))]


def _name(step: int) -> str:
    return f"step-{step:012}.safetensors"
