"""Reports of earlier runs are kept by the time they were written, thirty of them."""

import json
import os
from pathlib import Path

from pipelines.output.directory import Output
from pipelines.output.orphans import find_orphans
from pipelines.storage import locate


def write_report(out: Path, number: int) -> None:
    """Write the report of a run that ends `number` days after 2026-01-01 02:03:04 UTC."""
    Output(locate(str(out))).finish({"run": number}, f"<p>{number}</p>", success=True)
    for name in ("report.json", "report.html"):
        os.utime(out / "_xlm" / name, (0, 1_767_232_984 + number * 86_400))


def test_report_of_the_run_before_is_kept_under_its_time(tmp_path):
    for number in range(3):
        write_report(tmp_path, number)
    reports = tmp_path / "_xlm" / "reports"
    names = [f"2026-01-0{day}T02-03-04Z.{suffix}" for day in (1, 2) for suffix in ("html", "json")]
    assert sorted(path.name for path in reports.iterdir()) == names
    assert json.loads((reports / "2026-01-02T02-03-04Z.json").read_text()) == {"run": 1}
    assert (reports / "2026-01-02T02-03-04Z.html").read_text() == "<p>1</p>"
    assert json.loads((tmp_path / "_xlm" / "report.json").read_text()) == {"run": 2}
    assert find_orphans(Output(locate(str(tmp_path)))) == []


def test_the_newest_thirty_are_kept(tmp_path):
    for number in range(40):
        write_report(tmp_path, number)
    kept = sorted((tmp_path / "_xlm" / "reports").glob("*.json"))
    assert [json.loads(path.read_text())["run"] for path in kept] == [*range(9, 39)]
    assert len(list((tmp_path / "_xlm" / "reports").iterdir())) == 60
