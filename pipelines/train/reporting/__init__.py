"""The report of a training: values, an HTML page, and on request files of TensorBoard and MLflow."""

from pipelines.train.reporting.reporter import Reporter

__all__ = ["Reporter"]
