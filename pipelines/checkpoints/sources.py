"""Where checkpoints come from when they are not on this node: a directory of a store, or a model hub."""

from __future__ import annotations

import errno
import hashlib
import logging
import re
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pipelines.errors import FatalError, RetryableError
from pipelines.storage import classify_error, locate, describe_error
from xlm_core.checkpoint import CONFIG_FILE, needed_files, weights_files

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from pipelines.storage import FileInfo, Location, StoreSettings

_CHUNK_BYTES = 16 << 20  # a request each on an object store
_STAMPS = ("etag", "ETag", "md5Hash", "mtime", "LastModified", "last_modified", "updated", "created")  # fsspec's many
_HUB_URL = re.compile(r"hf://([\w.-]+/[\w.-]+)(?:@(.+))?")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM)


class Source(Protocol):
    """Files of a checkpoint elsewhere.

    Raises, whatever the method: FatalError for what a person must correct, RetryableError for what may pass.
    """

    @property
    def revision(self) -> str | None:
        """What, with the URL, says which version this is, for ever; None where there are no versions."""
        ...

    def identity(self) -> str | None:
        """Say what changes when the content does, without reading it; None where the source does not tell."""
        ...

    def files(self) -> tuple[str, ...]:
        """List the names of those files that a checkpoint needs."""
        ...

    def fetch(self, files: Sequence[str], into: Path) -> None:
        """Put files of these names into a directory; an OSError is the directory's."""
        ...


def open_source(url: str, stores: Sequence[StoreSettings] = (), revision: str | None = None) -> Source:
    """Find what serves a URL, `hf://org/name[@revision]` or a directory of any store.

    Args:
        url: as people write it.
        stores: options of stores.
        revision: that of an earlier call; without one, that which stands in the URL, or the newest, is meant.
    """
    return Hub.at(url, revision) if url.startswith("hf://") else Store(locate(url, stores))


@dataclass(frozen=True)
class Store:
    """A directory that `pyarrow.fs` or `fsspec` reaches."""

    location: Location
    revision: None = None

    def identity(self) -> str | None:
        """Say what changes when the content does: sizes, and times or etags."""
        with _reaching(self.location.url):
            found = self._list()
            stamps = {name: self._stamp(found[name]) for name in needed_files(found)}
        if not all(stamps.values()):
            return None
        lines = [f"{name} {found[name].size} {stamp}" for name, stamp in stamps.items()]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def files(self) -> tuple[str, ...]:
        """List the names of those files that a checkpoint needs."""
        with _reaching(self.location.url):
            return tuple(needed_files(self._list()))

    def fetch(self, files: Sequence[str], into: Path) -> None:
        """Put files of these names into a directory."""
        for name in files:
            place = self.location / name
            with _reaching(place.url):
                size = place.file_info().size
            with (into / name).open("wb") as file:
                for chunk in _chunks(place):
                    file.write(chunk)
                if file.tell() != size:
                    raise RetryableError(f"{place.url}: broke off, got {file.tell():,} of {size:,} bytes; run it again")

    def _list(self) -> dict[str, FileInfo]:
        if (inner := self.location.fsspec) is not None:
            inner.invalidate_cache()  # or it shows what it saw before
        found = {file.name: file for file in self.location.list()}
        if not found:
            what = "is a file" if self.location.is_file() else "no such directory, or no file in it"
            raise FatalError(
                f"{self.location.url}: {what}; name the directory that holds the checkpoint's {CONFIG_FILE}"
            )
        return found

    def _stamp(self, file: FileInfo) -> str | None:
        if file.mtime_ns:
            return str(file.mtime_ns)
        if (inner := self.location.fsspec) is None:
            return None
        info = inner.info((self.location / file.name).path)
        return " ".join(f"{key}={info[key]}" for key in _STAMPS if info.get(key) is not None) or None


@dataclass(frozen=True)
class Hub:
    """One commit of a repository of a model hub.

    `huggingface_hub` does the transfer, into its own cache, with its own settings (HF_ENDPOINT, HF_HOME, HF_TOKEN,
    HF_HUB_OFFLINE). What that cache holds of a commit is not asked for again, and serves while the hub is out of reach.
    """

    repo: str
    revision: str  # 40 hex digits

    @classmethod
    def at(cls, url: str, revision: str | None = None) -> Hub:
        """Find the commit that a URL means now: that of its revision, which is `main` where it names none."""
        if (parts := _HUB_URL.fullmatch(url)) is None:
            raise FatalError(f"{url}: no such form; write hf://org/name, or hf://org/name@revision")
        repo, wanted = parts[1], revision or parts[2] or "main"
        if not _COMMIT.fullmatch(wanted):
            with _reaching_hub(url) as hub:
                # the hub's client notes which commit that was, and has the answer when the hub cannot be reached
                config = hub.hf_hub_download(repo, CONFIG_FILE, revision=wanted)
            wanted = Path(config).parent.name
        return cls(repo, wanted)

    def identity(self) -> str:
        """Say what changes when the content does: the commit."""
        return self.revision

    def files(self) -> tuple[str, ...]:
        """List the names of those files that a checkpoint needs; while the hub is out of reach, those in its cache."""
        with _reaching_hub(self._url) as hub:
            try:
                names: list[str] = hub.HfApi().list_repo_files(self.repo, revision=self.revision)
            except Exception:
                cached = hub.try_to_load_from_cache(self.repo, CONFIG_FILE, revision=self.revision)
                names = [path.name for path in Path(cached).parent.iterdir()] if isinstance(cached, str) else []
                if not weights_files(names):
                    raise
        return tuple(needed_files(names))

    def fetch(self, files: Sequence[str], into: Path) -> None:
        """Put files of these names into a directory; they share their bytes with the hub's cache where they can."""
        for name in files:
            with _reaching_hub(self._url) as hub:
                blob = Path(hub.hf_hub_download(self.repo, name, revision=self.revision)).resolve()
            try:
                (into / name).hardlink_to(blob)
            except OSError:  # another file system, or one without hard links
                shutil.copyfile(blob, into / name)

    @property
    def _url(self) -> str:
        return f"hf://{self.repo}@{self.revision}"


def _chunks(place: Location) -> Iterator[bytes]:
    with _reaching(place.url), place.fs.open_input_stream(place.path) as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            yield chunk


@contextmanager
def _reaching(url: str) -> Generator[None]:
    """Sort what a store says by what to do next; a file that is not there is a person's to upload."""
    try:
        yield
    except FileNotFoundError:
        raise FatalError(f"{url}: no such file; correct the checkpoint's address, or upload what is missing") from None
    except Exception as error:
        raise classify_error(url, error) from None


@contextmanager
def _reaching_hub(url: str) -> Generator[Any]:
    """Give the hub's client, quiet, and sort what it says by what to do next.

    Its HTTP library has changed from release to release, so that what is not known by class may pass.
    """
    try:
        import huggingface_hub as hub
        from huggingface_hub import constants, errors, utils
    except ModuleNotFoundError:
        raise FatalError(
            f"{url}: needs the package huggingface_hub, on every node; pip install 'xlm-batch[hub]'"
        ) from None
    utils.disable_progress_bars()
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    try:
        yield hub
    except (FatalError, RetryableError):
        raise
    except errors.RepositoryNotFoundError:
        raise FatalError(f"{url}: no such repository, or none that HF_TOKEN may read; check both") from None
    except errors.RevisionNotFoundError:
        raise FatalError(f"{url}: the repository has no such revision; name a branch, a tag or a commit") from None
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled) as error:
        if constants.HF_HUB_OFFLINE:
            raise FatalError(
                f"{url}: is not in the hub's cache {constants.HF_HUB_CACHE}, and HF_HUB_OFFLINE forbids to fetch it"
            ) from None
        raise _hub_trouble(url, error.__cause__ or error) from None
    except errors.EntryNotFoundError as error:
        raise FatalError(f"{url}: has no such file ({describe_error(error)}); is it an XLM checkpoint?") from None
    except errors.HFValidationError as error:
        raise FatalError(f"{url}: no such form ({describe_error(error)}); write hf://org/name@revision") from None
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _DISK_ERRORS:
            raise FatalError(
                f"{constants.HF_HUB_CACHE}: cannot be written ({error.strerror}) while fetching {url}; free space "
                "there, or set HF_HOME to another directory"
            ) from None
        raise _hub_trouble(url, error) from None


def _hub_trouble(url: str, error: BaseException) -> FatalError | RetryableError:
    said = str(error).strip().partition("\n")[0] or type(error).__name__
    status = getattr(getattr(error, "response", None), "status_code", 0)
    if 400 <= status < 500 and status not in (408, 429):  # all but a time-out and too many requests
        return FatalError(f"{url}: refused ({said}); check HF_ENDPOINT and HF_TOKEN")
    return RetryableError(f"{url}: the hub is out of reach, and its cache does not hold this ({said}); run it again")
