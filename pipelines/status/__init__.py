"""How a job is going, read from its output: by any process, on any machine, during a run or later."""

from pipelines.status.read_status import Status, read_status
from pipelines.status.run_file import RunFile

__all__ = [
    "RunFile",
    "Status",
    "read_status",
]
