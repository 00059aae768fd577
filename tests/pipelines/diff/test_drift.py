"""`xlm diff --fail-on` fails on exactly the differences that it names, beyond their limits."""

import pytest

from jobs import cli
from pipelines.diff.drift import parse_drift_limits
from pipelines.errors import FatalError
from tests.pipelines.diff.comparing import compare

pytestmark = pytest.mark.long


def find(diff, *conditions):
    return [line for limit in parse_drift_limits(conditions, "--fail-on") for line in limit.find_drift(diff)]


def test_equal_outputs_have_no_drift(run, rows, every_task):
    a, b = (run(rows[:20], *every_task()) for _ in range(2))
    assert find(compare(a, b), "any", "rows", "columns", "values", "numbers", "vectors") == []


def test_drift_is_what_exceeds_the_limit(runs):
    diff = compare(*runs)
    totals = {column.name: column.total for column in diff.columns}
    share = totals["label"].changed / totals["label"].rows
    assert 0 < share < 1
    changed = f"label changed in {totals['label'].changed} of {totals['label'].rows} rows ({100 * share:.1f} %)"
    assert f"values: {changed}" in find(diff, "values")
    assert f"values={share - 0.01}: {changed}" in find(diff, f"values={share - 0.01}")
    assert not any("label" in line for line in find(diff, f"values={share}"))
    assert find(diff, "values=1") == []

    gap = max(totals["score"].gap, totals["scores"].gap)
    assert {"score", "scores"} <= {line.split()[1] for line in find(diff, "numbers=0")}
    assert not {"score", "scores"} & {line.split()[1] for line in find(diff, f"numbers={gap}")}

    cosine = totals["embedding"].min_similarity
    line = f"embedding has a similarity of {cosine:.6f} in one row"
    assert f"vectors={cosine + 1e-4}: {line}" in find(diff, f"vectors={cosine + 1e-4}")
    assert not any(line.startswith("vectors=-1: embedding") for line in find(diff, "vectors=-1"))
    assert len(find(diff, "any")) == sum(len(find(diff, kind)) for kind in ("values", "numbers", "vectors"))


def test_rows_and_columns_of_only_one_output_are_drift(run, rows):
    a = run(rows[:30], {"feature-extraction": {"prefix": "x_"}})
    b = run(rows[3:30], {"feature-extraction": {"prefix": "y_"}})
    diff = compare(a, b)
    assert find(diff, "rows") == ["rows: 3 of 30 rows in only one output (10.0 %)"]
    assert find(diff, "rows=0.1") == []
    assert find(diff, "columns") == ["columns: only in A: x_embedding", "columns: only in B: y_embedding"]
    # Nothing was compared, so the outputs did not pass.
    assert find(diff, "vectors=0.9") == ["vectors=0.9: the outputs have no rows with such a column in common"]


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("value", "'value' is not a kind of difference; did you mean values?"),
        ("zzz", "'zzz' is not a kind of difference; expected any, rows, columns, values, numbers, vectors"),
        ("", "'' is not a kind of difference; expected any, rows"),
        ("any=1", "any has no limit; write any alone"),
        ("rows=1.5", "rows: got '1.5', expected the share of rows that may be in only one output, from 0 to 1"),
        ("values=10%", "values: got '10%', expected the share of rows that may have another value, from 0 to 1"),
        ("numbers=-1", "numbers: got '-1', expected the largest difference that a number may have, from 0"),
        ("vectors=", "vectors: got '', expected the smallest similarity that a vector may have, from -1 to 1"),
        ("vectors=nan", "vectors: got 'nan', expected"),
    ],
)
def test_invalid_condition_is_refused_before_outputs_are_read(condition, message, capsys):
    with pytest.raises(FatalError) as error:
        parse_drift_limits([condition], "--fail-on")
    assert str(error.value).startswith(f"--fail-on: {message}")
    assert cli.main(["diff", "/nowhere/a", "/nowhere/b", "--fail-on", f"rows,{condition}"]) == 2
    assert capsys.readouterr().err.startswith(f"xlm: --fail-on: {message}")


def test_exit_status_is_4_for_drift_that_was_asked_for(runs, capsys):
    assert cli.main(["diff", *runs]) == 0
    assert cli.main(["diff", *runs, "--fail-on", "rows,columns", "--fail-on", "values=1"]) == 0
    assert cli.main(["diff", *runs, "--fail-on", "rows,values"]) == 4
    printed = capsys.readouterr()
    assert printed.err.startswith("xlm: --fail-on values: ")
    assert "most frequent changes" in printed.out
