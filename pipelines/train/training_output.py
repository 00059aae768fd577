"""The output of a training: its description, by which it resumes, its report, and `_SUCCESS`, which is written last."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pipelines.errors import FatalError
from pipelines.output import Output, find_differences
from pipelines.train.layout import REPORT_FILE, SUCCESS, TRAINING_FILE

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from pipelines.output import Lock
    from pipelines.storage import Location


class TrainingOutput:
    """The output of one training.

    Args:
        location: its directory.
        fingerprint: everything that changes its result.
    """

    def __init__(self, location: Location, fingerprint: dict[str, Any]):
        if location.url.startswith("memory://"):
            raise FatalError(f"output.path {location.url}: workers cannot reach the driver's memory; set another path")
        self.location, self._fingerprint = location, json.loads(json.dumps(fingerprint))

    def lock(self) -> AbstractContextManager[Lock]:
        """Return a context in which no other training writes to the output."""
        return Output(self.location).lock()

    def is_complete(self) -> bool:
        """Return whether the training is done.

        Raises:
            FatalError: the directory has other files, or the training was begun with other settings.
        """
        file = self.location / TRAINING_FILE
        if not file.is_file():
            if foreign := [found.url for found in self.location.list() if not found.name.startswith(".")]:
                raise FatalError(
                    f"{self.location.url}: contains files that were not written by a training, such as {foreign[0]}; "
                    "set output.path to a new or empty directory"
                )
            return False
        saved = _read_json(file).get("fingerprint", {})
        if differing := sorted(path for path, _, _ in find_differences(saved, self._fingerprint)):
            raise FatalError(
                f"{self.location.url}: was begun with other settings ({', '.join(differing)}); restore them, "
                "or set output.path to a new directory"
            )
        return (self.location / SUCCESS).is_file()

    def begin(self, job: dict[str, Any]) -> None:
        """Write the settings of the training."""
        description = {"job": job, "fingerprint": self._fingerprint}
        (self.location / TRAINING_FILE).put(json.dumps(description, indent=2, ensure_ascii=False).encode())

    def finish(self) -> None:
        """Write that the training is done. Its report must be there."""
        (self.location / SUCCESS).put(b"")

    def read_report(self) -> dict[str, Any]:
        """Read the report of a training that is done."""
        return _read_json(self.location / REPORT_FILE)


def _read_json(file: Location) -> dict[str, Any]:
    try:
        return json.loads(file.read_bytes())
    except (ValueError, FileNotFoundError):
        raise FatalError(f"{file.url}: missing or damaged; set output.path to a new directory") from None
