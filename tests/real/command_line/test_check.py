"""`xlm check` finds, without writing anything, what would end a run: before its first shard, or days later."""

import fcntl
import io
import os
import re
import shutil
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from jobs.commands.job.check import check_job
from jobs.exit_status import ExitStatus
from pipelines.corpus import count_langs
from pipelines.corpus.lang_counts import LangValue
from pipelines.errors import FatalError
from pipelines.job import Job
from pipelines.run import prepare_job, run
from tests.flow.in_process import without_ray
from tests.flow.run.outputs import modification_times, quiet_console
from xlm_core.inference import warn_of_slow_precision


def check(job: Job, **options: bool) -> tuple[ExitStatus, str]:
    console = Console(file=io.StringIO(), width=200)
    status = check_job(job, console, **options)
    assert isinstance(console.file, io.StringIO)
    return status, console.file.getvalue()


def test_rows_by_language_with_what_is_rejected_and_who_segments(corpus_job, tmp_path):
    bad = b"\xff"
    langs = pa.array(
        [b"en"] * 50 + [b"deu"] * 30 + [b"zh-Hant"] * 9 + [b"tlh"] * 5 + [None, None, b"NaN", bad, b"A text"]
    )
    status, text = check(corpus_job(langs.view(pa.string()), "policy.max_rejected=0.2"))
    rows = [re.split(r"\s{2,}", line.strip()) for line in text.partition("\nlang ")[2].splitlines()]
    assert rows[1:11] == [
        ["tlh", "5", "rejected: unknown_lang"],
        ["null", "2", "rejected: null_lang"],
        ["NaN", "1", "rejected: null_lang"],
        ["not UTF-8", "1", "rejected: invalid_utf8"],
        ["value of 6 characters", "1", "rejected: unknown_lang"],
        ["en", "50", "en", "sacremoses 0.2.0"],
        ["deu", "30", "de", "sacremoses 0.2.0"],
        ["zh-Hant", "9", "zh", "jieba 0.42.1"],
        ["at least 10 of 99 rows (10.1 %) will be rejected; policy.max_rejected is 0.2"],
        ["the job can run: 99 rows in 2 shards"],
    ]
    assert status == ExitStatus.COMPLETE
    assert not (tmp_path / "out").exists()


def test_job_that_would_reject_too_many_rows_is_told_before_it_runs(corpus_job):
    job = corpus_job(pa.array(["en"] * 90 + ["tlh"] * 10))  # policy.max_rejected is 0.05
    status, text = check(job)
    assert status == ExitStatus.INCOMPLETE
    assert (
        "the job would end early: it would reject at least 10 of 100 rows (10.0 %) (not in the checkpoint: tlh 10), "
        "and policy.max_rejected is 0.05; correct the corpus, run these rows without a language with --set "
        "policy.unknown_lang=neutral, leave them out with input.filter, or accept as many with --set "
        "policy.max_rejected=0.1\n"
    ) in text
    assert check(corpus_job(pa.array(["en"] * 95 + ["tlh"] * 5)))[0] == ExitStatus.COMPLETE
    neutral = corpus_job(pa.array(["en"] * 90 + ["tlh"] * 10), "policy.unknown_lang=neutral")
    status, text = check(neutral)
    assert re.search(r"\ntlh +10 +no, run without a language +sacremoses 0.2.0 *\n", text)
    assert status == ExitStatus.COMPLETE


def test_filter_and_languages_of_the_rows_that_it_keeps(corpus_job):
    job = corpus_job(pa.array(["en", "tlh", "de", "ja"] * 25), "input.filter='year >= 90 and lang != \"ja\"'")
    status, text = check(job)
    assert "input.filter drops 93 of 100 rows\n" in text
    assert "at least 2 of 7 rows (28.6 %)" in text
    assert status == ExitStatus.INCOMPLETE
    _, text = check(corpus_job(pa.array(["en"] * 9), "input.filter='lang == \"eng\"'"))
    assert "input.filter drops all 9 rows\n" in text


def test_column_that_does_not_contain_languages_is_not_read_to_its_end(corpus_job, monkeypatch):
    monkeypatch.setattr("pipelines.run.checks.languages._MAX_LANGS", 50)
    job = corpus_job(pa.array([f"text {i} of a row" for i in range(300)]), row_group_size=60)
    status, text = check(job)
    assert "the first 60 rows have 60 different values; input.lang is probably the wrong column" in text
    assert "of a row" not in text
    assert status == ExitStatus.INCOMPLETE


@pytest.mark.parametrize("ja", ["kytea", "fugashi"])
def test_japanese_rows_without_a_segmenter_stop_a_run_before_its_first_shard(corpus_job, tmp_path, ja, monkeypatch):
    """They are in the last of 20 shards."""
    without_ray(monkeypatch)
    if ja == "fugashi":
        monkeypatch.setitem(sys.modules, "fugashi", None)  # as if it were not installed
    advice = {"kytea": "set tokenizer.kytea_model", "fugashi": "pip install 'xlm-batch[fugashi]'"}[ja]
    langs = ["en"] * 195 + ["jpn_Jpan"] * 5
    job = corpus_job(pa.array(langs), f"tokenizer.ja={ja}", "output.rows_per_shard=10", row_group_size=10)
    for act in (check, lambda job: run(job, quiet_console())):
        with pytest.raises(FatalError, match=r"a\.parquet: has rows in jpn_Jpan: ") as error:
            act(job)
        assert advice in str(error.value)
    assert not list((tmp_path / "out").rglob("*.parquet"))

    for settings in (["input.filter='lang != \"jpn_Jpan\"'"], ["tokenizer.bypass_tokenizer=true"]):  # not needed
        job = corpus_job(pa.array(langs), f"tokenizer.ja={ja}", *settings)
        assert check(job)[0] == ExitStatus.COMPLETE
        assert run(job, quiet_console())["status"] == "complete"
        shutil.rmtree(tmp_path / "out")


def test_run_reads_many_languages_only_if_a_segmenter_is_missing(corpus_job, monkeypatch):
    without_ray(monkeypatch)
    monkeypatch.setattr("pipelines.corpus.lang_counts._QUICK_ROWS", 0)
    counted = list[str]()
    monkeypatch.setattr("pipelines.run.checks.languages.count_langs", lambda *_: counted.append("") or iter(()))
    assert run(corpus_job(pa.array(["en"])), quiet_console())["status"] == "complete"
    assert not counted


@pytest.mark.parametrize(
    "data_type",
    [
        pa.string(),
        pa.large_string(),
        pa.string_view(),
        pa.dictionary(pa.int8(), pa.string()),
        pa.dictionary(pa.int32(), pa.large_string()),
    ],
    ids=str,
)
def test_languages_of_any_text_type_are_counted(corpus_job, data_type):
    langs = pa.array(["en", None, "de", "en", "é"], pa.string()).cast(data_type)
    job = corpus_job(langs, row_group_size=2)
    plan = prepare_job(job).plan
    counts = list(count_langs(plan.shards, "lang", None))
    assert [dict(some.num_rows) for some in counts] == [
        {LangValue("en"): 1, LangValue(None): 1},
        {LangValue("de"): 1, LangValue("en"): 1},
        {LangValue("é"): 1},
    ]


def test_output_that_a_run_could_not_use_is_refused(corpus_job, tmp_path, monkeypatch):
    job = corpus_job(pa.array(["en", "de"]))
    file = tmp_path / "file"
    file.write_bytes(b"x")
    for path in (file, file / "out"):
        with pytest.raises(FatalError, match=r"not usable as output.*Not a directory"):
            check(corpus_job(pa.array(["en"]), f"output.path={path}"))
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(b"x")
    with pytest.raises(FatalError, match="contains files that were not written by a job"):
        check(corpus_job(pa.array(["en"]), f"output.path={folder}"))

    without_ray(monkeypatch)
    assert run(job, quiet_console())["status"] == "complete"
    before = modification_times(tmp_path / "out")
    assert "a run has nothing to do" in check(job)[1]
    with pytest.raises(FatalError, match="contains the results of another job"):
        check(corpus_job(pa.array(["en", "de"]), "tokenizer.max_length=7"))
    lock = tmp_path / "out" / "_xlm" / "lock"
    with lock.open("a") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        with pytest.raises(FatalError, match="another run is writing here"):
            check(job)
    assert modification_times(tmp_path / "out") == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_directory_without_write_access_is_refused(corpus_job, tmp_path):
    (tmp_path / "read-only").mkdir(mode=0o555)
    with pytest.raises(FatalError, match=r"not usable as output.*Permission denied"):
        check(corpus_job(pa.array(["en"]), f"output.path={tmp_path}/read-only/out"))


def test_resumed_output_says_what_a_run_would_do(corpus_job, tmp_path, monkeypatch):
    without_ray(monkeypatch)
    job = corpus_job(pa.array(["en"] * 30), "output.rows_per_shard=10", row_group_size=10)
    assert run(job, quiet_console())["status"] == "complete"
    part = sorted((tmp_path / "out").rglob("part-*"))[0]
    part.unlink()
    status, text = check(job)
    assert "has 2 of 3 shards; a run computes the others\n" in text
    assert "a run begins by computing 1 part again" in text
    assert status == ExitStatus.COMPLETE


def test_quick_check_reads_only_footers(corpus_job, monkeypatch):
    monkeypatch.setattr("pipelines.corpus.member_reader.MemberReader.read", None)
    status, text = check(corpus_job(pa.array(["tlh"] * 10)), quick=True)
    assert "were not read (--quick); 10 rows in 1 shard" in text
    assert status == ExitStatus.COMPLETE


def test_repeated_ids_are_found_by_check_as_by_run(corpus_job, tmp_path):
    job = corpus_job(pa.array(["en"] * 3))
    table = pq.read_table(tmp_path / "corpus" / "a.parquet")
    pq.write_table(table.slice(0, 1), tmp_path / "corpus" / "b.parquet")
    with pytest.raises(FatalError, match="1 row with the id of an earlier row"):
        check(job)
    policy = job.policy.model_copy(update={"duplicate_ids": "reject", "max_rejected": 1})
    status, text = check(job.model_copy(update={"policy": policy}))
    assert "1 row with the id of an earlier row will be rejected\n" in text
    assert status == ExitStatus.COMPLETE


def test_languages_of_partitions_are_counted_without_reading(corpus_job, tmp_path, monkeypatch):
    job = corpus_job(pa.array(["en"]), "input.id=null")
    shutil.rmtree(tmp_path / "corpus")
    for lang, num_rows in (("de", 7), ("jpn", 3), ("__HIVE_DEFAULT_PARTITION__", 2)):
        folder = tmp_path / "corpus" / f"lang={lang}"
        folder.mkdir(parents=True)
        pq.write_table(pa.table({"text": ["Hello."] * num_rows}), folder / "a.parquet")
    with monkeypatch.context() as patch:
        patch.setattr("pipelines.corpus.member_reader.MemberReader.read", None)
        _, text = check(job)
    assert re.search(r"\nnull +2 +rejected: null_lang *\nde +7 +de +sacremoses 0.2.0 *\njpn +3 +ja +fugashi", text)
    kytea = job.model_copy(update={"tokenizer": job.tokenizer.model_copy(update={"ja": "kytea"})})
    with pytest.raises(FatalError, match=r"lang=jpn/a\.parquet: has rows in jpn: "):
        run(kytea, quiet_console())


def test_row_groups_that_cannot_be_read_are_counted(corpus_job, tmp_path):
    job = corpus_job(pa.array(["en", "de"] * 50), row_group_size=40)
    file = tmp_path / "corpus" / "a.parquet"
    column = pq.read_metadata(file).row_group(1).column(1)
    data = bytearray(file.read_bytes())
    start = column.dictionary_page_offset
    data[start : start + column.total_compressed_size] = bytes(column.total_compressed_size)
    file.write_bytes(data)
    status, text = check(job)
    expected = (
        "the job would end early: 1 shard cannot be read, and policy.max_failed_shards is 0; write the damaged files"
    )
    assert expected in text
    assert status == ExitStatus.INCOMPLETE


def test_neither_ray_nor_torch_is_loaded(demo, tmp_path):
    """They take most of a command's time. The weights of checkpoint and heads are checked without torch."""
    code = f"""
import sys
from jobs.cli import main
assert main(["check", "{demo}/job.yaml", "--set", "output.path={tmp_path}/out"]) == 0
assert "ray" not in sys.modules and "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_precision_that_is_slow_on_this_cpu_is_warned_about(precision, corpus_job):
    job = corpus_job(pa.array(["en"]), f"model.precision={precision}", "compute.gpus_per_model=0")
    _, text = check(job)
    assert [
        line for line in warn_of_slow_precision(precision, "model.precision") if line not in " ".join(text.split())
    ] == []
    on_cluster = corpus_job(pa.array(["en"]), f"model.precision={precision}", "compute.address=10.0.0.1:6379")
    assert "model.precision is" not in check(on_cluster)[1]
