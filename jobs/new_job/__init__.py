"""Propose a job for a corpus and a checkpoint, and write it as a commented job file."""

from jobs.new_job.propose import Proposal, propose_job
from jobs.new_job.write import format_job

__all__ = [
    "Proposal",
    "format_job",
    "propose_job",
]
