"""A run refuses an output whose results would not match its own, or that another run is writing."""

import re
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.errors import FatalError
from pipelines.job import Job
from pipelines.job.sections import PolicySettings
from pipelines.output.directory import Output
from pipelines.run.execute import run
from pipelines.storage import locate
from tests.flow.run.outputs import modification_times, quiet_console
from xlm_core import SequenceClassificationHead, XLMConfig, XLMModel


def test_settings_that_do_not_change_results_may_change(undisturbed, make_job):
    run(make_job(output__path=str(undisturbed), batch={"max_tokens": 77}, name="other"), quiet_console())


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"tokenizer__max_length": 64}, "tokenizer.max_length: 128 in the output, 64 in this job"),
        ({"input__filter": "year >= 2021"}, "input.filter"),
        ({"input__keep": ["lang"]}, "input.keep"),
        ({"tasks": ["feature-extraction"]}, "tasks"),
        ({"output__rows_per_shard": 32}, "rows_per_shard: 64 in the output, 32 in this job"),
        ({"batch": {"invariant": True}}, "invariant: false in the output, true in this job"),
    ],
)
def test_settings_that_change_results_are_refused(undisturbed, make_job, changes, named):
    before = modification_times(undisturbed)
    changes = {"output__path": str(undisturbed)} | changes
    with pytest.raises(FatalError, match="contains the results of another job") as caught:
        run(make_job(**changes), quiet_console())
    assert named in str(caught.value)
    assert modification_times(undisturbed) == before


def test_settings_that_differ_within_tasks_and_long_values_are_named(make_job, in_process):
    condition = " and ".join(f"year != {year}" for year in range(1000, 1020))

    def job(top_k: int, year: int, *tasks: str) -> Job:
        classify = {"text-classification": {"head": str(head), "top_k": top_k}}
        return make_job(tasks=["feature-extraction", classify, *tasks], input__filter=f"{condition} and year >= {year}")

    head = Path(make_job().model.checkpoint).parent / "heads" / "topic"
    run(job(3, 2024), quiet_console())
    with pytest.raises(FatalError) as caught:
        run(job(2, 2025, "fill-mask"), quiet_console())
    named = str(caught.value)
    assert "tasks.1.text-classification.top_k: 3 in the output, 2 in this job" in named
    assert 'tasks.2: null in the output, {"fill-mask"' in named
    assert re.search(r"input\.filter: ….* >= 2024\" in the output, ….* >= 2025\" in this job", named)


def test_checkpoint_with_other_weights_is_refused(undisturbed, make_job, demo, tmp_path):
    shutil.copytree(demo / "checkpoint", tmp_path / "checkpoint")
    XLMModel(XLMConfig.from_pretrained(demo / "checkpoint")).save_pretrained(tmp_path / "checkpoint")
    with pytest.raises(FatalError, match=r"contains the results of another job \(checkpoint: "):
        run(make_job(output__path=str(undisturbed), model__checkpoint=str(tmp_path / "checkpoint")), quiet_console())


def test_heads_in_another_order_are_refused(make_job, demo, tmp_path, in_process):
    other = tmp_path / "head"
    SequenceClassificationHead(XLMConfig.from_pretrained(demo / "heads" / "topic")).save_pretrained(other)
    heads = [str(demo / "heads" / "topic"), str(other)]
    tasks = [
        [{"text-classification": {"head": h, "prefix": f"{n}_"}} for h, n in zip(order, "ab", strict=True)]
        for order in (heads, heads[::-1])
    ]
    run(make_job(tasks=tasks[0]), quiet_console())
    with pytest.raises(FatalError, match="contains the results of another job"):
        run(make_job(tasks=tasks[1]), quiet_console())


def test_second_run_is_refused_while_one_is_alive(undisturbed, make_job, tmp_path, in_process):
    out = tmp_path / "copy"
    shutil.copytree(undisturbed, out)
    (out / "_SUCCESS").unlink()
    with Output(locate(str(out))).lock(), pytest.raises(FatalError, match="another run is writing here"):
        run(make_job(output__path=str(out)), quiet_console())
    run(make_job(output__path=str(out)), quiet_console())  # the lock was released with its holder
    assert (out / "_SUCCESS").exists()


def test_run_that_waited_for_the_lock_of_a_complete_one_writes_nothing(make_job, in_process, monkeypatch):
    job = make_job(tasks=["feature-extraction"])
    out, lock, done = Path(job.output.path), Output.lock, dict[str, Any]()

    def lock_after_another(output):
        monkeypatch.setattr(Output, "lock", lock)
        run(job, quiet_console())
        done.update(modification_times(out))
        return lock(output)

    monkeypatch.setattr(Output, "lock", lock_after_another)
    assert run(job, quiet_console())["status"] == "complete"
    assert done
    assert modification_times(out) == done


def test_refused_run_does_not_change_the_output(make_job, tmp_path, in_process):
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for name, row_id in (("a", "1"), ("b", "2")):
        table = pa.table({"id": [row_id], "text": ["some text"], "lang": ["en"]})
        pq.write_table(table, corpus / f"{name}.parquet")
    job = make_job(
        input={"path": str(corpus), "id": "id", "text": "text", "lang": "lang"}, tasks=["feature-extraction"]
    )
    run(job, quiet_console())
    before = modification_times(Path(job.output.path))
    pq.write_table(pa.table({"id": ["1"], "text": ["again"], "lang": ["en"]}), corpus / "b.parquet")
    with pytest.raises(FatalError, match="1 row with the id of an earlier row"):
        run(job, quiet_console())
    assert modification_times(Path(job.output.path)) == before
    # The message's advice works: a run with `reject` may resume what one with `error` began.
    policy = PolicySettings(duplicate_ids="reject", max_rejected=1)
    assert run(job.model_copy(update={"policy": policy}), quiet_console())["status"] == "complete"
