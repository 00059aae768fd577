"""The values of the reports of earlier runs are kept by the time at which the runs ended, thirty of them."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipelines.output.directory import Output
from pipelines.output.orphans import find_orphans
from pipelines.storage import locate


def write_report(out: Path, number: int) -> dict[str, Any]:
    """Write the report of a run that ends `number` days after 2026-01-01 02:03:04 UTC."""
    ended = datetime(2026, 1, 1, 2, 3, 4, tzinfo=UTC) + timedelta(number)
    report = {"number": number, "run": {"ended": ended.isoformat()}}
    Output(locate(str(out))).finish(report, f"<p>{number}</p>", success=True)
    return report


def test_report_of_each_run_before_is_kept_under_its_time(tmp_path):
    written = [write_report(tmp_path, number) for number in range(3)]
    kept = {path.name: json.loads(path.read_text()) for path in (tmp_path / "_xlm" / "reports").iterdir()}
    assert kept == {"2026-01-01T02-03-04Z.json": written[0], "2026-01-02T02-03-04Z.json": written[1]}
    assert json.loads((tmp_path / "_xlm" / "report.json").read_text()) == written[2]
    assert (tmp_path / "_xlm" / "report.html").read_text() == "<p>2</p>"
    assert find_orphans(Output(locate(str(tmp_path)))) == []


def test_the_newest_thirty_are_kept(tmp_path):
    written = [write_report(tmp_path, number) for number in range(40)]
    kept = sorted((tmp_path / "_xlm" / "reports").iterdir())
    assert [json.loads(path.read_text()) for path in kept] == written[9:39]


@pytest.mark.parametrize(
    "damaged", ["", "[]", "{}", '{"run": {"ended": null}}', '{"run": {"ended": "soon"}}', "[" * 100_000]
)
def test_damaged_report_does_not_keep_a_run_from_ending(tmp_path, damaged):
    write_report(tmp_path, 0)
    (tmp_path / "_xlm" / "report.json").write_text(damaged)
    written = write_report(tmp_path, 1)
    assert json.loads((tmp_path / "_xlm" / "report.json").read_text()) == written
    assert (tmp_path / "_SUCCESS").exists()
