"""Every kind of bad input gets what the catalogue says: one clear line before anything starts, or a rejected row."""

from itertools import chain
from pathlib import Path

import pyarrow as pa
import pytest

from pipelines.job.job import Job
from tests.chaos.bad_input import catalogue
from tests.chaos.bad_input.bad_checkpoints import TRAP
from tests.chaos.bad_input.bad_rows import CORPORA_OF_ROWS, TEXTS
from tests.chaos.bad_input.bench import Bench, Harmless, Refused, column_of
from tests.flow.heads import write_checkpoints
from tests.flow.in_process import read_rejected, run_stages

KINDS = list(chain.from_iterable(catalogue.SECTIONS.values()))


@pytest.fixture(scope="module")
def heads(demo, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("heads")
    write_checkpoints(demo, folder)
    return folder


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_kind_of_bad_input(kind, demo, tmp_path):
    kind.attempt(tmp_path / "bench", demo)
    assert not list(tmp_path.rglob(TRAP)), "a pickle ran"


@pytest.mark.parametrize("corpus", CORPORA_OF_ROWS, ids=[corpus.name for corpus in CORPORA_OF_ROWS])
def test_bad_rows_are_rejected_with_their_reason_and_touch_no_other(corpus, demo, heads, tmp_path):
    """The good rows get to the byte what they get without the bad ones beside them."""
    got = corpus.attempt(tmp_path / "all", demo, heads)
    assert {name: reason for name, (reason, _) in got.rejected.items()} == {
        row.name: row.reason for row in corpus.rows if row.reason is not None
    }
    for _, detail in got.rejected.values():
        assert 0 < len(detail) < 200
        assert not any(word in detail for word in ("ten MB", "caf", "rained", "Ada"))
    good = corpus.attempt_good(tmp_path / "good", demo, heads)
    assert good.results
    assert good.results == {name: got.results[name] for name in good.results}


@pytest.mark.parametrize("kind", ["string", "large_string", "dictionary"])
def test_bad_rows_are_found_in_every_layout_of_strings(kind, demo, tmp_path):
    columns = {f.name: column_of([{**usual(i), **row.values}[f.name] for i, row in enumerate(SHORT)], f.type)
               for f in TEXTS.schema}  # fmt: skip
    text = columns["text"]
    if kind == "large_string":
        text = text.view(pa.binary()).cast(pa.large_binary()).view(pa.large_string())
    elif kind == "dictionary":
        codes = pa.array([None if row.values["text"] is None else i for i, row in enumerate(SHORT)], pa.int32())
        text = pa.DictionaryArray.from_arrays(codes, text.fill_null(""))
    bench = Bench(tmp_path, demo)
    bench.write(pa.table(columns | {"text": text}))
    run_stages(Job.model_validate(bench.settings))
    found = {row["row"]: row["reason"] for row in read_rejected(str(bench.out))}
    assert found == {i: row.reason for i, row in enumerate(SHORT) if row.reason is not None}


SHORT = [row for row in TEXTS.rows if row.is_short]


def usual(i: int) -> dict[str, str]:
    return {"id": f"row {i}", "lang": "en"}


def test_a_trial_notices_what_it_is_there_to_notice(demo, tmp_path):
    """A catalogue in which nothing can fail would say nothing."""
    with pytest.raises(AssertionError, match="exit status 1"):
        Refused("a job that works", lambda bench: None, "").attempt(tmp_path / "a", demo)
    with pytest.raises(AssertionError, match="expected 'moon'"):
        Refused("the wrong words", lambda bench: bench.set("input.text", "txt"), "moon").attempt(tmp_path / "b", demo)
    with pytest.raises(AssertionError, match="embedding differs"):
        Harmless("another pooling", lambda b: b.set("tasks", [{"feature-extraction": {"pooling": "max"}}])).attempt(
            tmp_path / "c", demo
        )


def test_the_table_lists_every_kind():
    """`python -m tests.chaos.bad_input.catalogue` writes it anew."""
    lines = catalogue.TABLE.read_text(encoding="utf-8").splitlines()
    listed = [line.split(" | ")[0].removeprefix("| ") for line in lines if line.startswith("| ")]
    expected = [catalogue.escaped(name) for name in catalogue.kind_names()]
    assert [name for name in listed if name != "kind"] == expected
    assert len(set(expected)) == len(expected) >= 60
