"""Fit the temperature of a head on rows with gold labels, so that its scores become probabilities."""

from pipelines.calibration.calibrate import Calibration, Quality, calibrate, check_target, write_head

__all__ = [
    "Calibration",
    "Quality",
    "calibrate",
    "check_target",
    "write_head",
]
