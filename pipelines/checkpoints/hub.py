"""Download checkpoints from a model hub, with `huggingface_hub`."""

from __future__ import annotations

import logging
import re
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.errors import FatalError, RetryableError
from pipelines.storage import describe_error, is_disk_error, is_permanent_status
from xlm_core.checkpoint import CONFIG_FILE, needed_files, weights_files

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

_REPOSITORY = re.compile(r"\w[\w.-]*/[\w.-]+")
_RELEASED = re.compile(r"xlm-[cm]lm-[\w-]+")  # names of the released checkpoints in older code, without their owner
_HUB_URL = re.compile(r"hf://([\w.-]+/[\w.-]+)(?:@(.+))?")
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class HubRepository:
    """One commit of a repository on a model hub.

    `huggingface_hub` downloads files into its own cache, and reads its own environment variables (HF_ENDPOINT, HF_HOME,
    HF_TOKEN, HF_HUB_OFFLINE). Files in that cache are not downloaded again, and are used when the hub is not reachable.
    """

    repo: str
    revision: str  # 40 hex digits

    @classmethod
    def at(cls, url: str, revision: str | None = None) -> HubRepository:
        """Find the current commit of a URL's revision. The default revision is `main`."""
        if (parts := _HUB_URL.fullmatch(url)) is None:
            raise FatalError(f"{url}: not a valid hub URL; write hf://org/name or hf://org/name@revision")
        repo, wanted = parts[1], revision or parts[2] or "main"
        if not _COMMIT.fullmatch(wanted):
            with _open_client(url) as hub:
                # The client records the commit of a download, so that it is known if the hub is not reachable later.
                config = hub.hf_hub_download(repo, CONFIG_FILE, revision=wanted)
            wanted = Path(config).parent.name
        return cls(repo, wanted)

    def identity(self) -> str:
        """Return the commit."""
        return self.revision

    def files(self) -> tuple[str, ...]:
        """List the names of the files that a checkpoint needs; if the hub is not reachable, those in its cache."""
        with _open_client(self._url) as hub:
            try:
                names: list[str] = hub.HfApi().list_repo_files(self.repo, revision=self.revision)
            except Exception:
                cached = hub.try_to_load_from_cache(self.repo, CONFIG_FILE, revision=self.revision)
                names = [path.name for path in Path(cached).parent.iterdir()] if isinstance(cached, str) else []
                if not weights_files(names):
                    raise
        return tuple(needed_files(names))

    def download(self, files: Sequence[str], target: Path) -> None:
        """Download files to a directory, as hard links to the files in the hub's cache if possible."""
        for name in files:
            with _open_client(self._url) as hub:
                blob = Path(hub.hf_hub_download(self.repo, name, revision=self.revision)).resolve()
            try:
                (target / name).hardlink_to(blob)
            except OSError:  # the cache is on another file system, or it does not support hard links
                shutil.copyfile(blob, target / name)

    @property
    def _url(self) -> str:
        return f"hf://{self.repo}@{self.revision}"


def find_repository_name(path: str) -> str | None:
    """Return the repository `org/name` that a path may stand for, as in other libraries; None if it does not."""
    if _RELEASED.fullmatch(path):
        return f"FacebookAI/{path}"
    return path if _REPOSITORY.fullmatch(path) else None


@contextmanager
def _open_client(url: str) -> Generator[Any]:
    """Yield the hub's client without console output, and convert its errors.

    Its HTTP library has changed between releases, so unknown errors are treated as temporary.
    """
    try:
        import huggingface_hub as hub
        from huggingface_hub import constants, errors, utils
    except ModuleNotFoundError:
        raise FatalError(
            f"{url}: needs the package huggingface_hub on all nodes; pip install 'xlm-batch[hub]'"
        ) from None
    # Loaded first, because loading a module of the client resets the level of its logger.
    _ = hub.HfApi, hub.hf_hub_download
    utils.disable_progress_bars()
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    try:
        yield hub
    except (FatalError, RetryableError):
        raise
    except errors.RepositoryNotFoundError:
        raise FatalError(f"{url}: no such repository, or HF_TOKEN has no access to it; check both") from None
    except errors.RevisionNotFoundError:
        raise FatalError(f"{url}: the repository has no such revision; name a branch, a tag or a commit") from None
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled) as error:
        if constants.HF_HUB_OFFLINE:
            raise FatalError(
                f"{url}: not in the hub's cache {constants.HF_HUB_CACHE}; unset HF_HUB_OFFLINE to download it"
            ) from None
        raise _to_error(url, error.__cause__ or error) from None
    except errors.EntryNotFoundError as error:
        raise FatalError(
            f"{url}: no such file ({describe_error(error)}); name a repository with an XLM checkpoint"
        ) from None
    except errors.HFValidationError as error:
        raise FatalError(
            f"{url}: not a valid hub URL ({describe_error(error)}); write hf://org/name@revision"
        ) from None
    except Exception as error:
        if is_disk_error(error):
            raise FatalError(
                f"{constants.HF_HUB_CACHE}: cannot be written ({error.strerror}) while downloading {url}; free space "
                "there, or set HF_HOME to another directory"
            ) from None
        raise _to_error(url, error) from None


def _to_error(url: str, error: BaseException) -> FatalError | RetryableError:
    if is_permanent_status(getattr(getattr(error, "response", None), "status_code", 0)):
        return FatalError(
            f"{url}: the hub denied the request ({describe_error(error)}); check HF_ENDPOINT and HF_TOKEN"
        )
    return RetryableError(
        f"{url}: not in the hub's cache, and the hub is not reachable ({describe_error(error)}); run the same command "
        "again with a network connection, or name a local copy of the checkpoint"
    )
