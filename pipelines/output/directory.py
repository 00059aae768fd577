"""The output directory: who may write to it, what it says of its job, and when it is complete."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pipelines.errors import FatalError
from pipelines.formatting import clip
from pipelines.output.ledger import SHARD_ID, Ledger
from pipelines.output.lock import lock_folder, no_place
from pipelines.rows.shard import REPEATED
from pipelines.storage import parquet_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from pipelines.output.lock import Lock
    from pipelines.storage import Location

# The names that `part_name` gives; another file of a similar name is none of ours.
_PART = re.compile(rf"part-{SHARD_ID.pattern}\.parquet")


class Output:
    """`OUT`: parts beside each other, and below `_xlm` all that is not data."""

    def __init__(self, location: Location):
        self.location = location
        self.inner = location / "_xlm"
        self.rejected = self.inner / "rejected"
        self.ledger = Ledger(self.inner / "ledger")

    def saved_job(self) -> dict[str, Any] | None:
        """Read `job.json`: what the job is that began this output, and what its results depend on; None in a new one.

        Raises:
            FatalError: the directory holds something else.
        """
        try:
            saved = json.loads((self.inner / "job.json").read_bytes())
            if isinstance(saved, dict) and all(isinstance(saved.get(name), dict) for name in ("spec", "fingerprint")):
                return saved
        except FileNotFoundError:
            strangers = [file.url for file in self.location.list() if not file.name.startswith(".")]
            if strangers:
                raise FatalError(
                    f"{self.location.url}: holds files that no job here wrote, such as {strangers[0]}; set output.path "
                    "to an empty or new directory"
                ) from None
            return None
        except OSError as error:
            raise no_place(self.location, error) from None
        except (ValueError, RecursionError):  # the latter of brackets without end
            pass
        raise FatalError(f"{self.inner.url}/job.json: damaged; restore it, or set output.path anew")

    def known_job(self) -> dict[str, Any]:
        """Read `job.json` where there must be one.

        Raises:
            FatalError: there is none, or it is damaged.
        """
        job = self.saved_job() if (self.inner / "job.json").is_file() else None
        if job is None:
            raise FatalError(
                f"{self.location.url}: no results of a job (it has no _xlm/job.json); name the output.path of a job"
            )
        return job

    def check_fingerprint(self, fingerprint: dict[str, Any]) -> None:
        """Refuse to go on where results would differ from those already there.

        Raises:
            FatalError: names every setting that differs.
        """
        saved = self.saved_job()
        unlike = [
            f"{path}: {_shown(there)} there, {_shown(now)} now"
            for path, there, now in (differences(saved["fingerprint"], fingerprint) if saved else ())
        ]
        if unlike:
            raise FatalError(
                f"{self.location.url}: holds results of another job ({'; '.join(unlike)}); "
                "set output.path anew, or restore the settings"
            )

    def begin(self, description: dict[str, Any], shards: pa.Table) -> None:
        """Write what the job is and which shards it has; the output is not complete until `finish`."""
        self.mark_incomplete()
        self._put_json("job.json", description)
        (self.inner / "plan.parquet").put(parquet_bytes(shards))

    def num_planned(self) -> int | None:
        """Read how many shards the last run planned; None before the first."""
        return len(self.planned()) or None

    def planned(self) -> list[str]:
        """Read which shards the last run planned; none before the first."""
        try:
            return (self.inner / "plan.parquet").read_table(["shard"])["shard"].to_pylist()
        except (FileNotFoundError, KeyError, ValueError, pa.ArrowException):  # of other columns, of no UTF-8
            return []

    def parts(self) -> dict[str, int]:
        """List the parts that are there, and their sizes in bytes."""
        return _parts(self.location)

    def rejected_parts(self) -> dict[str, int]:
        """List the parts of which there are rejected rows, and the sizes of those rows' files in bytes."""
        return _parts(self.rejected)

    def repeated_rows(self, name: str) -> set[int]:
        """Read which rows of a part's shard, by their number in the file, were rejected since they repeat an id."""
        rows = (self.rejected / name).read_table(["row", "reason"]).to_pylist()
        return {row["row"] for row in rows if row["reason"] == REPEATED}

    def remove_part(self, name: str) -> None:
        """Remove a part, then its rejected rows."""
        (self.location / name).delete()
        (self.rejected / name).delete()

    def mark_incomplete(self) -> None:
        """Take back that the output is complete, before anything is changed in it."""
        (self.location / "_SUCCESS").delete()

    def remove_leftovers(self) -> None:
        """Remove temporary files of writers that were killed, or that could not remove them."""
        for folder in (self.location, self.inner, self.rejected, self.inner / "ledger"):
            for file in folder.leftovers():
                (folder / file.name).delete()

    @property
    def is_complete(self) -> bool:
        """Whether the last run finished and said so."""
        return (self.location / "_SUCCESS").is_file()

    def finish(self, report: dict[str, Any], page: str, *, success: bool) -> None:
        """Write the report and, as the last act of a run that did all it should, `_SUCCESS`."""
        self._put_json("report.json", report)
        (self.inner / "report.html").put(page.encode())
        if success:
            self.remove_leftovers()
            (self.location / "_SUCCESS").put(b"")

    def lock(self) -> AbstractContextManager[Lock]:
        """Be the only run on this output for the length of a `with` block.

        Raises:
            FatalError: another run is alive, or nothing can be written here.
        """
        return lock_folder(self.inner)

    def _put_json(self, name: str, value: dict[str, Any]) -> None:
        (self.inner / name).put((json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())


def _parts(folder: Location) -> dict[str, int]:
    return {file.name: file.size for file in folder.list() if _PART.fullmatch(file.name)}


def differences(old: Any, new: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Give the leaves in which two trees of settings differ: where they are, and both values."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys([*old, *new]):
            yield from differences(old.get(key), new.get(key), f"{path}.{key}" if path else str(key))
    elif old != new:
        yield path, old, new


def _shown(value: Any) -> str:
    return clip(json.dumps(value, ensure_ascii=False))
