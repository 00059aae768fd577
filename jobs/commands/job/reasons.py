"""The reasons for which `xlm run --retry-rejected` computes rejected rows again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.errors import FatalError
from pipelines.formatting import closest_name, excerpt
from pipelines.rows import RejectionReason

if TYPE_CHECKING:
    from collections.abc import Sequence


def parse_reasons(names: Sequence[str] | None) -> list[RejectionReason]:
    """Return the reasons for which rejected rows are computed again.

    Args:
        names: as on the command line; None for the default.

    Raises:
        FatalError: there is no such reason.
    """
    known = [reason.value for reason in RejectionReason]
    for name in names or ():
        if name not in known:
            similar = closest_name(name, known)
            hint = f"did you mean {similar}?" if similar else f"reasons are {', '.join(known)}"
            raise FatalError(f"--reasons: {excerpt(name)!r} is not a reason of rejections; {hint}")
    return [RejectionReason.KILLED_WORKER] if names is None else [RejectionReason(name) for name in names]
