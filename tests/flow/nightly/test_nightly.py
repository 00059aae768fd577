"""Scheduled annotation: what a scheduler sees of its runs, night after night, and what each run changes."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pyarrow.dataset as ds
import pytest

from tests.flow.in_process import read_rejected
from tests.flow.nightly.annotations import Annotations, Files, Night


class Nights(NamedTuple):
    """Runs in their order. Before some of them, the corpus changes as the comments in `nights` say.

    `expected` and `changed_expected` compute the corpus of `resumed` and `changed` at once, into outputs of their own.
    """

    folder: Annotations
    suspended: Files
    overlapping: Night
    killed: Night
    resumed: Night
    expected: Night
    idle: Night
    refused: Night
    changed: Night
    changed_expected: Night


@pytest.fixture(scope="module")
def nights(demo: Path, corpus: list[dict[str, str]], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nights]:
    folder = Annotations(demo, tmp_path_factory.mktemp("annotations"))
    try:
        folder.add("01.parquet", corpus[:10])
        folder.add("02.parquet", corpus[10:120])
        killed, overlapping, suspended = folder.run_twice_at_once()
        # A new file, with an id that is in the corpus already and a row without a text.
        folder.add("03.parquet", [*corpus[200:204], corpus[0], {**corpus[204], "text": None}])
        resumed, expected = folder.run(), folder.run_without_ray(out=folder.folder / "resumed")
        idle = folder.run_without_ray()
        # One file is replaced, and one is missing.
        folder.add("01.parquet", corpus[300:320])
        (folder.corpus / "02.parquet").unlink()
        refused = folder.run_without_ray()
        changed = folder.run_without_ray("policy.max_removed=1.0")
        changed_expected = folder.run_without_ray(out=folder.folder / "changed")
        yield Nights(
            folder, suspended, overlapping, killed, resumed, expected, idle, refused, changed, changed_expected
        )
    finally:
        folder.clean_up()


def test_a_run_that_overlaps_is_refused_and_disturbs_nothing(nights):
    night = nights.overlapping
    assert night.status == 5
    assert night.err.startswith(f"xlm: {nights.folder.out}: another run is writing here (process ")
    assert night.err.endswith("; wait for it, or stop it\n")
    assert night.err.count("\n") == 1
    assert night.files == nights.suspended
    assert nights.killed.recorded  # it computed parts afterwards


def test_a_run_that_was_killed_is_completed_by_the_next(nights):
    killed, resumed = nights.killed, nights.resumed
    assert killed.status == -9
    assert "_SUCCESS" not in killed.files
    assert 0 < len(killed.recorded) < 120
    assert (resumed.status, resumed.err) == (0, "")
    assert f"{len(killed.recorded)} already done" in resumed.out
    assert {path: resumed.files[path] for path in killed.recorded} == {
        path: killed.files[path] for path in killed.recorded
    }
    assert set(resumed.parts) == resumed.recorded
    assert len(resumed.parts) == 126
    assert resumed.results == nights.expected.results
    assert "_SUCCESS" in resumed.files


def test_rows_that_cannot_be_processed_are_rejected_with_their_reason(nights):
    assert "2 rejected (duplicate_id 1, null_text 1)" in nights.resumed.out


def test_a_run_that_finds_nothing_writes_nothing(nights):
    assert (nights.idle.status, nights.idle.err) == (0, "")
    assert 'nothing to do: every row of the corpus is in the output or rejected"\n' in nights.idle.out
    assert nights.idle.files == nights.resumed.files


def test_report_of_the_run_before_is_kept(nights):
    """The runs that were killed, refused or had nothing to do wrote none."""
    kept = [file[1] for path, file in nights.changed.files.items() if path.startswith("_xlm/reports/")]
    assert kept == [nights.idle.files["_xlm/report.json"][1]]


def test_missing_files_are_not_taken_for_deleted_ones(nights):
    """The job removes at most a tenth of its parts, because a mount may be missing."""
    assert nights.refused.status == 2
    assert "the results of 120 of 126 rows would be removed" in nights.refused.err
    assert "if that is right, set policy.max_removed above 0.1" in nights.refused.err
    assert "removing" not in nights.refused.out
    assert nights.refused.err.count("\n") == 1
    assert nights.refused.files == nights.idle.files


def test_parts_follow_files_that_were_replaced_and_removed(nights):
    night, corpus = nights.changed, nights.folder.corpus
    assert (night.status, night.err) == (0, "")
    assert "removing 120 parts of files that changed or were deleted" in night.out
    ids = ds.dataset(corpus).to_table(columns=["id"])["id"].to_pylist()
    found = ds.dataset(nights.folder.out / "data").to_table()["id"].to_pylist()
    rejected = [row["id"] for row in read_rejected(str(nights.folder.out))]
    assert sorted(found + rejected) == sorted(ids)
    assert night.recorded == set(night.parts)
    kept = nights.idle.parts.keys() & night.parts.keys()
    assert len(kept) == 6  # those of the file that did not change
    # One is computed again: its row had the id of a row in a file that was replaced, and is no longer rejected.
    assert sum(night.files[path] == nights.idle.files[path] for path in kept) == 5


def test_the_output_is_that_of_one_run_over_the_last_corpus(nights):
    assert nights.changed.results == nights.changed_expected.results
    report = json.loads((nights.folder.out / "_xlm" / "report.json").read_text())
    assert report["totals"]["rows_in"] == 26
