"""Find the local paths of a job, and make them absolute: a job that runs elsewhere has another current directory."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from pipelines.storage import local_path

if TYPE_CHECKING:
    from pipelines.settings import Settings

JobT = TypeVar("JobT", bound="Settings")


def resolve_local_paths(job: JobT) -> tuple[JobT, list[str]]:
    """Make all local paths of a job of any kind absolute.

    Returns:
        The job, and its local paths. URLs of stores are unchanged.

    Raises:
        FatalError: a `file:` URL names another host or is not absolute.
    """
    paths: list[str] = []

    def resolve(url: str) -> str:
        path = local_path(url)
        if path is None:
            return url
        paths.append(path)
        # A glob that ends with a slash matches directories.
        return f"{path}/" if url.endswith("/") and path != "/" else path

    return type(job).model_validate(job.model_dump(mode="json"), context=resolve), paths
