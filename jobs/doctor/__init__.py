"""What works on this machine, tried out: segmenters, devices, precisions, stores, tables, and what a job needs."""

from jobs.doctor.examine import examine
from jobs.doctor.finding import Finding, describe_versions, install_all

__all__ = [
    "Finding",
    "describe_versions",
    "examine",
    "install_all",
]
