"""Every kind of bad input has the outcome that the catalogue states."""

from itertools import chain

import pyarrow as pa
import pytest

from pipelines.job import Job
from tests.chaos.bad_input import catalogue
from tests.chaos.bad_input.bad_rows import ROW_CASES, TEXTS
from tests.chaos.bad_input.checkpoint_changes import TRAP
from tests.chaos.bad_input.outcomes import Harmless, Refused
from tests.chaos.bad_input.row_cases import make_column
from tests.chaos.bad_input.trial_job import TrialJob
from tests.flow.in_process import read_rejected, run_stages

KINDS = list(chain.from_iterable(catalogue.SECTIONS.values()))
SHORT_ROWS = [row for row in TEXTS.rows if row.is_short]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_kind_has_its_outcome(kind, demo, tmp_path):
    kind.check(tmp_path / "job", demo)
    assert not list(tmp_path.rglob(TRAP)), "a pickle was loaded"


@pytest.mark.parametrize("cases", ROW_CASES, ids=[cases.name for cases in ROW_CASES])
def test_bad_rows_are_rejected_and_do_not_change_results_of_good_rows(cases, demo, checkpoints, tmp_path):
    found = cases.run(tmp_path / "all", demo, checkpoints)
    assert {name: reason for name, (reason, _) in found.rejected.items()} == {
        row.name: row.reason for row in cases.rows if row.reason is not None
    }
    for _, detail in found.rejected.values():
        assert 0 < len(detail) < 200
        assert not any(word in detail for word in ("ten MB", "caf", "rained", "Ada"))
    good = cases.run_good_rows(tmp_path / "good", demo, checkpoints)
    assert good.results
    assert good.results == {name: found.results[name] for name in good.results}


@pytest.mark.parametrize("kind", ["string", "large_string", "dictionary"])
def test_bad_rows_are_rejected_in_every_string_type(kind, demo, tmp_path):
    rows = [{"id": f"row {i}", "lang": "en"} | row.values for i, row in enumerate(SHORT_ROWS)]
    columns = {f.name: make_column([row[f.name] for row in rows], f.type) for f in TEXTS.schema}
    text = columns["text"]
    if kind == "large_string":
        text = text.view(pa.binary()).cast(pa.large_binary()).view(pa.large_string())
    elif kind == "dictionary":
        codes = pa.array([None if row["text"] is None else i for i, row in enumerate(rows)], pa.int32())
        text = pa.DictionaryArray.from_arrays(codes, text.fill_null(""))
    job = TrialJob(tmp_path, demo)
    job.write(pa.table(columns | {"text": text}))
    run_stages(Job.model_validate(job.settings))
    found = {row["row"]: row["reason"] for row in read_rejected(str(job.out))}
    assert found == {i: row.reason for i, row in enumerate(SHORT_ROWS) if row.reason is not None}


def test_wrong_expectations_fail(demo, tmp_path):
    """Otherwise the catalogue would prove nothing."""
    with pytest.raises(AssertionError, match="exit status 1"):
        Refused("a valid job", lambda job: None, "").check(tmp_path / "a", demo)
    with pytest.raises(AssertionError, match="expected 'moon'"):
        Refused("another message", lambda job: job.set("input.text", "txt"), "moon").check(tmp_path / "b", demo)
    max_pooling = [{"feature-extraction": {"pooling": "max"}}]
    with pytest.raises(AssertionError, match="embedding differs"):
        Harmless("other results", lambda job: job.set("tasks", max_pooling)).check(tmp_path / "c", demo)


def test_table_lists_every_kind():
    """`python -m tests.chaos.bad_input.catalogue` updates the table."""
    lines = catalogue.TABLE.read_text(encoding="utf-8").splitlines()
    listed = [line.split(" | ")[0].removeprefix("| ") for line in lines if line.startswith("| ")]
    expected = [catalogue.escape_cell(name) for name in catalogue.kind_names()]
    assert [name for name in listed if name != "kind"] == expected
    assert len(set(expected)) == len(expected) >= 60
