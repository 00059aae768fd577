"""The report of a training: values, an HTML page, and on request event files of TensorBoard."""

from pipelines.train.reporting.reporter import Reporter
from pipelines.train.reporting.tensorboard import check_tensorboard

__all__ = ["Reporter", "check_tensorboard"]
