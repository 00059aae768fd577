"""Find the local paths of a job, and make them absolute: a job that runs elsewhere has another current directory."""

from __future__ import annotations

from pipelines.job.job import Job
from pipelines.storage import local_path


def resolve_local_paths(job: Job) -> tuple[Job, list[str]]:
    """Make all local paths of a job absolute.

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

    return Job.model_validate(job.model_dump(mode="json"), context=resolve), paths
