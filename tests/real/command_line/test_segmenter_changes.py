"""A segmenter may change as long as no row in its language is tokenized."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.errors import FatalError
from pipelines.job import Job
from pipelines.output import Output, OutputState
from pipelines.run import check_output, prepare_job, run
from pipelines.run.output_checks import check_before_changes
from pipelines.storage import locate
from pipelines.verify import verify
from tests.flow.in_process import run_to_records, without_ray
from tests.flow.run.outputs import modification_times, printed, quiet_console

TEXTS = {"en": "Berlin is a city.", "de": "Berlin ist eine Stadt.", "jpn": "東京へ行く。", "zh": "北京是首都。"}


@pytest.fixture
def job(make_job, tmp_path, monkeypatch) -> Callable[..., Job]:
    """Build jobs over `tmp_path / "in"`, with settings of the tokenizer. All have the same output."""
    without_ray(monkeypatch)

    def job(rows_per_shard: int = 64, **tokenizer: Any) -> Job:
        source = {"path": str(tmp_path / "in"), "id": "id", "text": "text", "lang": "lang"}
        policy = {"max_rejected": 1.0, "duplicate_ids": "ignore"}
        changes = {"tokenizer": tokenizer, "policy": policy, "output__rows_per_shard": rows_per_shard}
        return make_job(input=source, tasks=["feature-extraction"], **changes)

    return job


def write_rows(tmp_path: Path, name: str, *langs: str, **columns: Any) -> None:
    (tmp_path / "in").mkdir(exist_ok=True)
    rows = {"id": [f"{name} {i}" for i in range(len(langs))], "text": [TEXTS[lang] for lang in langs], "lang": langs}
    pq.write_table(pa.table(rows | columns), tmp_path / "in" / f"{name}.parquet")


def complete(job: Job) -> str:
    console = quiet_console()
    assert run(job, console)["status"] == "complete"
    assert verify(Output(locate(job.output.path))).verified
    return printed(console)


def check(job: Job) -> OutputState:
    """Check as `xlm check` does."""
    prepared = prepare_job(job)
    state = check_output(prepared)
    check_before_changes(job, prepared, state)
    return state


def refusals(job: Job) -> list[str]:
    """Return the messages of `xlm check` and `xlm run`, which must not change the output."""
    out, messages = Path(job.output.path), list[str]()
    before = modification_times(out)
    for act in (check, lambda job: run(job, quiet_console())):
        with pytest.raises(FatalError) as raised:
            act(job)
        messages.append(str(raised.value))
    assert modification_times(out) == before
    return messages


def test_segmenter_that_is_missing_for_a_new_file_can_be_set_on_resume(job, tmp_path):
    write_rows(tmp_path, "a", "en", "de")
    complete(job(ja="kytea"))
    first = {name: time for name, time in modification_times(tmp_path / "out").items() if name.startswith("data/")}
    write_rows(tmp_path, "b", "jpn", "en")
    for message in refusals(job(ja="kytea")):
        assert "b.parquet: has rows in jpn: Japanese text needs a KyTea model" in message
        assert "set tokenizer.kytea_model to a model file, or tokenizer.ja to fugashi" in message

    assert len(check(job(ja="fugashi")).todo) == 1
    assert "2 rows in 1 shard, 1 already done" in complete(job(ja="fugashi"))
    assert modification_times(tmp_path / "out").items() >= first.items()
    segmenters = {record.file[-9]: record.segmenters for record in Output(locate(f"{tmp_path}/out")).ledger.history()}
    assert segmenters["a"].keys() == {"moses"}
    assert segmenters["b"].keys() == {"moses", "ja"}
    assert segmenters["b"]["ja"].startswith("fugashi ")


def test_segmenter_of_written_rows_cannot_change(job, tmp_path, kytea_model):
    write_rows(tmp_path, "a", "en", "jpn")
    complete(job(ja="fugashi"))
    write_rows(tmp_path, "b", "en")
    expected = (
        r"out: contains the results of another job \(segmenters\.ja: \"fugashi [\d.]+, unidic-lite [\d.]+\" in "
        r"the output, \"kytea [\d.]+, model [0-9a-f]+…? in this job\); "
        r"set output.path to a new directory, or restore the settings"
    )
    for message in refusals(job(ja="kytea", kytea_model=str(kytea_model))):
        assert re.search(expected, message), message
    assert "1 already done" in complete(job(ja="fugashi", zh="rjieba"))  # no row is in Chinese
    saved = json.loads((tmp_path / "out" / "_xlm" / "job.json").read_text())
    assert saved["segmenters"]["zh"].startswith("rjieba ")


def test_model_of_kytea_is_identified_by_its_contents(job, tmp_path, kytea_model):
    other, moved = tmp_path / "other.bin", tmp_path / "moved.bin"
    other.write_text(kytea_model.read_text().replace("eps 0.1", "eps 0.2"))
    shutil.copy(kytea_model, moved)
    write_rows(tmp_path, "a", "en")
    complete(job(kytea_model=str(other)))
    write_rows(tmp_path, "b", "jpn")
    complete(job(kytea_model=str(kytea_model)))
    write_rows(tmp_path, "c", "jpn")
    for message in refusals(job(kytea_model=str(other))):
        assert "(segmenters.ja: " in message
    complete(job(kytea_model=str(moved)))


def test_rows_rejected_for_their_tokens_depend_on_the_segmenter_and_others_do_not(job, tmp_path, kytea_model):
    """Another segmenter gives another number of tokens."""
    limit = {"max_length": 8, "on_overflow": "reject"}
    kytea = limit | {"ja": "kytea", "kytea_model": str(kytea_model)}
    write_rows(tmp_path, "a", "jpn", "jpn", text=[None, "x" * 2_000_000])
    complete(job(**kytea))
    complete(job(**limit, ja="fugashi"))
    write_rows(tmp_path, "b", "jpn", text=["東京へ行く。" * 50])
    complete(job(**limit, ja="fugashi"))
    rejected = [reason for record in Output(locate(f"{tmp_path}/out")).ledger.history() for reason in record.reasons]
    assert sorted(rejected) == ["null_text", "too_many_chars", "too_many_tokens"]
    write_rows(tmp_path, "c", "en")
    for message in refusals(job(**kytea)):
        assert "(segmenters.ja: " in message
    (tmp_path / "in" / "b.parquet").unlink()  # the parts of deleted files are removed
    assert "removing 1 part" in complete(job(**kytea))


def test_settings_of_segmenters_have_no_effect_on_texts_that_are_not_segmented(job, tmp_path):
    write_rows(tmp_path, "a", "en", "jpn", "zh")
    complete(job(bypass_tokenizer=True))
    write_rows(tmp_path, "b", "en", "jpn", "zh")
    assert "1 already done" in complete(job(bypass_tokenizer=True, ja="fugashi", zh="rjieba"))


@pytest.mark.parametrize("back", [False, True])
def test_run_that_ends_before_its_first_part_leaves_an_output_to_resume(job, tmp_path, kytea_model, back):
    """The change is in job.json already. It can be made again, and undone."""
    kytea, fugashi = job(ja="kytea", kytea_model=str(kytea_model)), job(ja="fugashi")
    write_rows(tmp_path, "a", "en")
    complete(kytea)
    write_rows(tmp_path, "b", "jpn")
    prepared = prepare_job(fugashi)
    Output(prepared.output).begin(prepared.description, prepared.plan.shards)
    complete(kytea if back else fugashi)


def test_parts_without_a_record_are_adopted_only_if_their_rows_have_the_segmenters_of_the_job(
    job, tmp_path, kytea_model
):
    """The run that wrote them was killed before it recorded any; then the segmenter was changed."""
    write_rows(tmp_path, "a", "en")
    write_rows(tmp_path, "b", "jpn")
    killed = job(1, ja="kytea", kytea_model=str(kytea_model))
    prepared = prepare_job(killed)
    Output(prepared.output).begin(prepared.description, prepared.plan.to_table())
    assert len(run_to_records(killed)) == 2
    assert len(check(killed).adopted) == 2
    state = check(job(1, ja="fugashi"))
    assert [Path(record.file).name for record in state.adopted] == ["a.parquet"]
    assert len(state.stale_parts) == 1
    assert "adopting 1 part" in complete(job(1, ja="fugashi"))
