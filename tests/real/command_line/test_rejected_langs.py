"""Rows in languages that the checkpoint does not have: what `xlm check` and `xlm run` say before the first shard."""

import re

import pyarrow as pa
import pytest

from jobs.exit_status import ExitStatus
from pipelines.errors import RejectionLimitError
from pipelines.run import run
from tests.flow.in_process import without_ray
from tests.flow.run.outputs import printed, quiet_console
from tests.real.command_line.test_check import check


@pytest.mark.parametrize("num_rejected", [10, 28, 29, 57, 58])
def test_advised_limit_suffices(corpus_job, num_rejected):
    """Also where a share times the number of rows is rounded down, such as 0.29 of 100 rows."""
    langs = pa.array(["en"] * (100 - num_rejected) + ["tlh"] * num_rejected)
    for limit in ("0.05", "5"):
        _, text = check(corpus_job(langs, f"policy.max_rejected={limit}"))
        advised = re.search(r"--set (policy\.max_rejected=\S+)\n", text)
        assert advised, text
        assert check(corpus_job(langs, advised[1]))[0] == ExitStatus.COMPLETE


def test_rejecting_every_row_is_not_advised(corpus_job):
    status, text = check(corpus_job(pa.array(["tlh"] * 10)))
    assert status == ExitStatus.INCOMPLETE
    assert "correct the corpus or input.lang, or run these rows without a language with --set" in text
    assert "--set policy.max_rejected" not in text
    assert "input.filter" not in text


def test_run_refuses_rows_in_unknown_languages_before_its_first_shard(corpus_job, tmp_path, monkeypatch):
    """Unless counting them takes long; then, it ends once it has rejected too many."""
    without_ray(monkeypatch)
    job = corpus_job(pa.array(["en"] * 90 + ["tlh"] * 10))
    with pytest.raises(RejectionLimitError) as error:
        run(job, quiet_console())
    assert f"{error.value}\n" in check(job)[1]
    assert not list((tmp_path / "out").rglob("*.parquet"))
    monkeypatch.setattr("pipelines.corpus.lang_counts._QUICK_ROWS", 99)
    assert run(job, quiet_console())["status"] == "too many rejected rows"
    # Settings that would give other results are not advised for an output that has some.
    more = pa.array(["en"] * 90 + ["tlh"] * 30)
    monkeypatch.setattr("pipelines.corpus.lang_counts._QUICK_ROWS", 1_000)
    job = corpus_job(more, "policy.max_rejected=0.2", "policy.max_removed=1.0")
    with pytest.raises(RejectionLimitError, match=r"; correct the corpus, or accept as many with --set \S+=0\.25$"):
        run(job, quiet_console())


def test_row_groups_that_are_not_read_count_as_dropped_by_the_filter(corpus_job, monkeypatch):
    """Of 100 rows, 40 are read, in row groups of 20."""
    without_ray(monkeypatch)
    job = corpus_job(pa.array(["en"] * 100), "input.filter='year >= 70'", row_group_size=20)
    _, text = check(job)
    assert "input.filter drops 70 of 100 rows\n" in text
    assert "the job can run: 30 of 100 rows in 1 shard\n" in text
    assert "; up to 40 of 100 rows in 1 shard\n" in check(job, quick=True)[1]
    console = quiet_console()
    run(job, console)
    assert "30 rows in 1 shard; tokenizers" in printed(console)
