"""Write the report of a training to its output, when it ends and with each saved state."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import time
from typing import TYPE_CHECKING, Any

from pipelines.errors import FatalError, RetryableError
from pipelines.log import logger
from pipelines.report import render_or_explain
from pipelines.train.history import History
from pipelines.train.layout import REPORT_FILE, REPORT_PAGE, TENSORBOARD_FOLDER
from pipelines.train.reporting.build_report import build_report
from pipelines.train.reporting.page import render_training
from pipelines.train.reporting.scalars import list_scalars
from pipelines.train.reporting.tensorboard import event_file_name, event_files

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipelines.storage import Location
    from pipelines.train.prepare import PreparedTraining

_LIBRARIES = ("xlm-batch", "torch", "ray", "numpy", "pyarrow")


class Reporter:
    """Writes the report of one training. Each time it writes all of them, from the history in the newest state.

    Args:
        prepared: the training.
        data: numbers of rows, see `encode_examples`.
    """

    def __init__(self, prepared: PreparedTraining, data: Mapping[str, dict[str, Any]]):
        self._job, self._output, self._data = prepared.job, prepared.output, data
        self._versions = {name: importlib.metadata.version(name) for name in _LIBRARIES}
        self._versions["python"] = platform.python_version()

    def watch(self, record: dict[str, Any], state: dict[str, Any]) -> None:
        """Write the report of a training that runs or has failed. An error of the store is only logged."""
        if not record:
            return
        try:
            self.write(record, state)
        except (RetryableError, FatalError, OSError) as error:
            logger.warning("the report could not be written: %s", error)

    def write(self, record: dict[str, Any], state: dict[str, Any]) -> dict[str, Any]:
        """Write the report, and return it; see `build_report` for the arguments."""
        report = build_report(
            self._job, self._output.url, self._data, record, state, self._versions, updated_s=time.time()
        )
        if self._job.output.tensorboard:
            self._write_events(event_files(list_scalars(History(**record["history"]))), report["step"])
        (self._output / REPORT_PAGE).put(render_or_explain(render_training, report).encode())
        (self._output / REPORT_FILE).put(json.dumps(report, indent=1, ensure_ascii=False).encode())
        return report

    def _write_events(self, files: Mapping[str, bytes], step: int) -> None:
        """Write a file for each run of TensorBoard, and delete older ones.

        TensorBoard may have the older file open, and reads the new one because of its name; it replaces points by later
        ones of the same step.
        """
        for run, content in files.items():
            folder: Location = self._output / TENSORBOARD_FOLDER / run
            name = event_file_name(step)
            (folder / name).put(content)
            for file in folder.list():
                if file.name != name:
                    (folder / file.name).delete()
