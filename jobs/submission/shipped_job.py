"""What is sent to a cluster: the job with its overrides applied, and this project's code."""

from __future__ import annotations

import hashlib
import importlib.metadata
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from jobs.job_file import dump_job, load_any_job
from pipelines.job import Job, resolve_local_paths
from xlm_core.builtin import SCHEME

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobs.job_file import AnyJob

_PROJECT = "xlm-batch"
_PACKAGES = ("xlm_core", "pipelines", "jobs")
_DIGEST_CHARS = 8

# Parts of the packages that no job imports, and those that only trainings do.
_NEVER_SHIPPED = ("pipelines/calibration/", "pipelines/evaluation/")
_FOR_TRAININGS = ("pipelines/train/", "xlm_core/training/", "xlm_core/vocabulary/")

_BUILTIN = "xlm_core/builtin/"

JOB_FILE, START = "job.yaml", "run_job.py"  # names on the cluster

# After the shards in flight have finished, the driver disconnects from Ray and writes the report.
_ENDS_WITHIN_S = 30
_SAVES_WITHIN_S = 300  # the state of a training


@dataclass(frozen=True)
class ShippedJob:
    """A job as a cluster receives it.

    Attributes:
        job: its settings. Local paths are absolute, and it joins the cluster that it is submitted to.
        local_paths: the paths that every node of the cluster must have. They are not shipped.
    """

    job: AnyJob
    local_paths: list[str]

    @property
    def command(self) -> str:
        """The command of xlm that runs the job."""
        return "run" if isinstance(self.job, Job) else "train"

    @property
    def yaml(self) -> str:
        """The text of the job file on the cluster."""
        return dump_job(self.job)

    @property
    def digest(self) -> str:
        """A hash of all settings."""
        return hashlib.sha256(self.yaml.encode()).hexdigest()

    @property
    def submission_id(self) -> str:
        """The default id: the same for the same name and output path."""
        return f"{self.job.name}-{hashlib.sha256(self.job.output.path.encode()).hexdigest()[:_DIGEST_CHARS]}"

    @property
    def stop_wait_s(self) -> int:
        """Seconds that the driver may take to end after SIGTERM: `RAY_JOB_STOP_WAIT_TIME_S`, by default only 3."""
        ends_work_s = round(self.job.policy.stop_grace_s) if isinstance(self.job, Job) else _SAVES_WITHIN_S
        return ends_work_s + _ENDS_WITHIN_S

    def write(self, path: Path) -> None:
        """Write a zip file with the job file, this project's packages and their start program: about 1 MB.

        Documents and what the job does not import are left out; checkpoints of the package, which have 9 MB, too,
        unless the job names one.

        The same job gives the same bytes, so that the head receives it once. Ray itself would not compress it, and
        nginx accepts 1 MiB by default.
        """
        with_builtin, is_training = SCHEME in self.yaml, self.command == "train"
        project = importlib.metadata.distribution(_PROJECT)
        name = f"{_PROJECT.replace('-', '_')}-{project.version}.dist-info/METADATA"
        with ZipFile(path, "w", ZIP_DEFLATED) as archive:
            _add(archive, JOB_FILE, self.yaml.encode())
            # With its metadata, the project has a version and requirements, also where it is not installed.
            # An editable install that is found from its checkout has PKG-INFO instead, with the same text.
            metadata = project.read_text("METADATA") or project.read_text("PKG-INFO") or ""
            _add(archive, name, metadata.encode())
            _add(archive, START, Path(__file__).with_name(START).read_bytes())
            for package in _PACKAGES:
                root = Path(str(files(package)))
                for file in sorted(root.rglob("*")):
                    path_in_zip = f"{package}/{file.relative_to(root)}"
                    is_shipped = _is_shipped(path_in_zip, with_builtin=with_builtin, is_training=is_training)
                    if file.is_file() and "__pycache__" not in file.parts and is_shipped:
                        _add(archive, path_in_zip, file.read_bytes())


def _is_shipped(path: str, *, with_builtin: bool, is_training: bool) -> bool:
    if path.endswith(".md") or path.startswith(_NEVER_SHIPPED) or (path.startswith(_FOR_TRAININGS) and not is_training):
        return False
    return with_builtin or not path.startswith(_BUILTIN) or path.endswith(".py")


def _add(archive: ZipFile, name: str, content: bytes) -> None:
    entry = ZipInfo(name)  # with a fixed date
    entry.compress_type, entry.external_attr = ZIP_DEFLATED, 0o644 << 16
    archive.writestr(entry, content)


def ship_job(path: str, overrides: Sequence[str] = ()) -> ShippedJob:
    """Load and validate a job file for a cluster.

    Args:
        path: the job file, of any kind.
        overrides: settings as `KEY=VALUE`, as in `load_job`.

    Raises:
        FatalError: the job is not valid.
    """
    job, local_paths = resolve_local_paths(load_any_job(path, overrides))
    compute = job.compute.model_copy(update={"address": "auto"})
    return ShippedJob(job.model_copy(update={"compute": compute}), local_paths)
