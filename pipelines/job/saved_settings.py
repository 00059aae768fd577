"""Settings of a job as `job.json` of its output has them: read for commands that only look at the output."""

from __future__ import annotations

import json
from typing import Any

from pydantic import ValidationError

from pipelines.errors import FatalError
from pipelines.job.input import InputSettings
from pipelines.job.sections import PolicySettings


def parse_input(job: Any, file: str) -> InputSettings:
    """Read the input settings from the settings of a job in JSON form.

    Args:
        job: the settings.
        file: URL of the file with these settings, for the error message.

    Raises:
        FatalError: this version cannot read them.
    """
    try:
        return InputSettings.model_validate_json(json.dumps(job["input"]))
    except (ValidationError, KeyError, TypeError):
        raise unreadable_settings_error(file) from None


def parse_policy(job: Any) -> PolicySettings | None:
    """Read the policy from the settings of a job in JSON form; None if this version cannot read it."""
    try:
        return PolicySettings.model_validate_json(json.dumps(job["policy"]))
    except (ValidationError, KeyError, TypeError):
        return None


def unreadable_settings_error(file: str) -> FatalError:
    """Return the error for a `job.json` with settings that this version cannot read."""
    return FatalError(
        f"{file}: damaged, or written by another version of this program; restore it, or use that version"
    )
