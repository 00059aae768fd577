"""An output: parts, rejected rows, ledger, plan and report, and the job that they belong to."""

from __future__ import annotations

import json
from datetime import datetime
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.errors import FatalError
from pipelines.formatting import excerpt
from pipelines.output import layout
from pipelines.output.access import check_writable
from pipelines.output.ledger import Ledger
from pipelines.output.lock import check_unlocked, lock_folder, not_writable
from pipelines.output.parts import decode_schema, list_parts
from pipelines.rows import RejectionReason
from pipelines.storage import encode_parquet

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from pipelines.output.lock import Lock
    from pipelines.storage import Location


_PLANNED_ROWS = pa.schema([("shard", pa.string()), ("num_rows", pa.int64())])

_SHOWN_BEFORE = 20  # characters before the first difference of two long values

_REPORTS_KEPT = 30  # of earlier runs: a month of a job that runs every night


class Output:
    """An output directory: `data` contains the parts and nothing else, and `_xlm` all files that are not data."""

    def __init__(self, location: Location):
        self.location = location
        self.parts = location / layout.DATA
        self.bookkeeping = location / layout.BOOKKEEPING
        self.rejected = self.bookkeeping / layout.REJECTED
        self.ledger = Ledger(self.bookkeeping / layout.LEDGER)
        self._reports = self.bookkeeping / layout.REPORTS
        self._temporary = self.bookkeeping / layout.TEMPORARY

    def read_job(self) -> dict[str, Any] | None:
        """Read `job.json`, which describes the job that started this output; None if the directory is new.

        Raises:
            FatalError: the file is damaged, or the directory contains other files or results in another layout.
        """
        try:
            saved = json.loads((self.bookkeeping / layout.JOB_FILE).read_bytes())
            if isinstance(saved, dict) and all(isinstance(saved.get(name), dict) for name in ("spec", "fingerprint")):
                self._check_layout()
                return saved
        except FileNotFoundError:
            files = [*self.location.list(), *self.parts.walk()]
            foreign = [file.url for file in files if not file.name.startswith(".")]
            if foreign:
                raise FatalError(
                    f"{self.location.url}: contains files that were not written by a job, such as {foreign[0]}; set "
                    "output.path to a new or empty directory"
                ) from None
            return None
        except OSError as error:
            raise not_writable(self.location, error) from None
        except (ValueError, RecursionError):  # json raises the latter for very deep nesting
            pass
        raise FatalError(
            f"{self.bookkeeping.url}/{layout.JOB_FILE}: damaged; restore it, or set output.path to a new directory"
        )

    def read_existing_job(self) -> dict[str, Any]:
        """Read `job.json` of an output that must exist.

        Raises:
            FatalError: it does not exist or is damaged.
        """
        job = self.read_job() if (self.bookkeeping / layout.JOB_FILE).is_file() else None
        if job is not None:
            return job
        url, out = self.location.url.rstrip("/"), self.location.parent
        if self.location.name == layout.DATA and (out / layout.BOOKKEEPING / layout.JOB_FILE).is_file():
            raise FatalError(f"{url}: contains the results of a job; name its output.path, {out.url}")
        if not self.location.exists():
            raise FatalError(f"{url}: no such directory; name the output.path of a job")
        raise FatalError(
            f"{url}: not the output of a job (it has no {layout.BOOKKEEPING}/{layout.JOB_FILE}); name the output.path "
            "of a job"
        )

    def _check_layout(self) -> None:
        if any(layout.is_part_name(name) for name, _ in self.location.scan()):
            raise FatalError(
                f"{self.location.url}: written by an earlier version, which did not write parts to {layout.DATA}; set "
                "output.path to a new directory, and run the job again"
            )

    def read_schema(self) -> pa.Schema | None:
        """Read the schema of the existing parts; None if there is no job, or its description is damaged."""
        try:
            return decode_schema(json.loads((self.bookkeeping / layout.JOB_FILE).read_bytes())["schema"])
        except (OSError, LookupError, TypeError, ValueError, RecursionError):
            return None

    def check_fingerprint(self, fingerprint: dict[str, Any]) -> None:
        """Refuse to resume an output whose existing results were computed with other settings.

        Raises:
            FatalError: names every setting that differs.
        """
        saved = self.read_job()
        if saved is not None:
            self._refuse(find_differences(saved["fingerprint"], fingerprint))

    def check_segmenters(self, used: Iterable[tuple[str, str]], segmenters: Mapping[str, str]) -> None:
        """Refuse to resume an output that keeps shards with rows segmented in another way.

        A segmenter concerns only the rows in its language, and may change as long as none of them is tokenized.

        Args:
            used: the languages and segmenters of the rows that are not computed again, as in `ShardRecord`.
            segmenters: the segmenters of the job.

        Raises:
            FatalError: names every segmenter that differs.
        """
        self._refuse(
            (f"segmenters.{lang}", segmenter, segmenters.get(lang))
            for lang, segmenter in sorted(used)
            if segmenters.get(lang) != segmenter
        )

    def _refuse(self, differences: Iterable[tuple[str, Any, Any]]) -> None:
        texts = [(path, *_to_texts(old, new)) for path, old, new in differences]
        differing = [f"{path}: {old} in the output, {new} in this job" for path, old, new in texts]
        if differing:
            raise FatalError(
                f"{self.location.url}: contains the results of another job ({'; '.join(differing)}); set output.path "
                "to a new directory, or restore the settings"
            )

    def check_access(self) -> None:
        """Check that a run could write here, without writing. In an object store, only the lock is checked.

        Raises:
            LockedError: another run holds the lock.
            FatalError: the directory is not writable.
        """
        if self.location.is_local:
            try:
                folders = (self.location, self.parts, self.bookkeeping, self.rejected, self.ledger.folder)
                check_writable(Path(folder.path) for folder in folders)
            except OSError as error:
                raise not_writable(self.location, error) from None
        check_unlocked(self.bookkeeping)

    def begin(self, description: dict[str, Any], plan: pa.Table) -> None:
        """Write the job's description and its plan. The output is incomplete until `finish`."""
        self.mark_incomplete()
        self._put_json(layout.JOB_FILE, description)
        (self.bookkeeping / layout.PLAN_FILE).put(encode_parquet(plan, write_page_checksum=True))

    def read_plan(self) -> pa.Table | None:
        """Read the plan of the last run; None before the first run, and if the file is damaged."""
        try:
            data = (self.bookkeeping / layout.PLAN_FILE).read_bytes()
            # one chunk, of which `members_of` need not copy the members
            plan = pq.read_table(pa.BufferReader(data), page_checksum_verification=True).combine_chunks()
            plan.validate(full=True)  # a damaged header of a page can hide its checksum
            return plan
        except (OSError, ValueError, pa.ArrowException):
            return None

    def num_planned(self) -> int | None:
        """Read how many shards the last run planned; None before the first run."""
        return len(self.read_planned_rows()) or None

    def read_planned_rows(self) -> pa.Table:
        """Read the shards that the last run planned, and their rows; none before the first run.

        Returns:
            A table with the columns `shard` and `num_rows`. Rows of the corpus that no shard has are left out.
        """
        try:
            plan = (self.bookkeeping / layout.PLAN_FILE).read_table(_PLANNED_ROWS.names)
            plan = plan.select(_PLANNED_ROWS.names).cast(_PLANNED_ROWS).filter(pc.field("shard").is_valid())
            plan.validate(full=True)
            return plan
        except (FileNotFoundError, KeyError, ValueError, pa.ArrowException):  # missing, or damaged in any way
            return _PLANNED_ROWS.empty_table()

    def list_parts(self) -> pa.Table:
        """List the existing parts: a table of their shards, and of their sizes in bytes."""
        return list_parts(self.parts)

    def list_rejected_parts(self) -> pa.Table:
        """List the existing files of rejected rows, like `list_parts`. A file has the name of its part."""
        return list_parts(self.rejected)

    def read_repeated_rows(self, name: str) -> set[tuple[str, int]]:
        """Read which rows of a part's shard were rejected as duplicates: their input files, and row numbers there."""
        rows = (self.rejected / name).read_table(["file", "row", "reason"]).to_pylist()
        return {(row["file"], row["row"]) for row in rows if row["reason"] == RejectionReason.DUPLICATE_ID}

    def put_part(self, name: str, data: pa.Buffer) -> None:
        """Write a part. Until it is complete, it is not in the directory that other programs read."""
        (self.parts / name).put(data, temporary_folder=self._temporary)

    def remove_part(self, name: str) -> None:
        """Delete a part and its file of rejected rows."""
        (self.parts / name).delete()
        (self.rejected / name).delete()

    def mark_incomplete(self) -> None:
        """Delete `_SUCCESS`. This must happen before any other change to the output."""
        (self.location / layout.SUCCESS).delete()

    def remove_temporary_files(self) -> None:
        """Delete temporary files of processes that were killed while writing."""
        folders = (self.location, self.bookkeeping, self._temporary, self.rejected, self.ledger.folder, self._reports)
        for folder in folders:
            for file in folder.list_temporary_files():
                (folder / file.name).delete()

    @property
    def is_complete(self) -> bool:
        """Whether the last run was complete."""
        return (self.location / layout.SUCCESS).is_file()

    def finish(self, report: dict[str, Any], page: str, *, success: bool) -> None:
        """Write the report and, as the last write of a complete run, `_SUCCESS`.

        The values of the last report, without its page, are kept with those of earlier runs.
        """
        self._keep_last_report()
        self._put_json(layout.REPORT_JSON, report)
        (self.bookkeeping / layout.REPORT_HTML).put(page.encode())
        if success:
            self.remove_temporary_files()
            (self.location / layout.SUCCESS).put(b"")

    def _keep_last_report(self) -> None:
        """Copy the values of the last report to `reports`, under the time of its end, and delete the oldest there."""
        try:
            report = (self.bookkeeping / layout.REPORT_JSON).read_bytes()
            ended = datetime.fromisoformat(json.loads(report)["run"]["ended"])
        except (FileNotFoundError, LookupError, TypeError, ValueError, RecursionError):
            return  # there is none, or it is damaged
        (self._reports / layout.old_report_name(ended)).put(report)
        for file in self._reports.list()[:-_REPORTS_KEPT]:
            (self._reports / file.name).delete()

    def lock(self) -> AbstractContextManager[Lock]:
        """Lock the output against other runs for the length of a `with` block.

        Raises:
            LockedError: another run holds the lock.
            FatalError: the output is not writable.
        """
        return lock_folder(self.bookkeeping)

    def _put_json(self, name: str, value: dict[str, Any]) -> None:
        (self.bookkeeping / name).put((json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())


def find_differences(old: Any, new: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield the leaves in which two trees of settings differ, as path, old value and new value."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys([*old, *new]):
            yield from find_differences(old.get(key), new.get(key), f"{path}.{key}" if path else str(key))
    elif isinstance(old, list) and isinstance(new, list) and any(isinstance(item, dict) for item in (*old, *new)):
        for i, (a, b) in enumerate(zip_longest(old, new)):
            yield from find_differences(a, b, f"{path}.{i}")
    elif old != new:
        yield path, old, new


def _to_texts(old: Any, new: Any) -> tuple[str, str]:
    """Return both values as text, from shortly before their first difference if they differ only behind an excerpt."""
    texts = [json.dumps(value, ensure_ascii=False) for value in (old, new)]
    a, b = map(excerpt, texts)
    if a == b:
        first = next(i for i, pair in enumerate(zip_longest(*texts)) if len({*pair}) > 1)
        a, b = ("…" + excerpt(text[first - _SHOWN_BEFORE :]) for text in texts)
    return a, b
