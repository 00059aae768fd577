"""`xlm init`: a commented job file for a corpus and a checkpoint, which passes `xlm check`."""

import json
import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.cli import main
from jobs.job_file import load_job
from tests.flow.in_process import run_to_records
from xlm_core import XLMConfig, XLMForTokenClassification

HOSTILE = 'a: "b" # {c}, [d]\u2028é'


@pytest.fixture
def written(tmp_path, checkpoint, capsys, monkeypatch):
    """Return a function that runs `xlm init` and returns its exit status, what it printed and the job."""
    monkeypatch.chdir(tmp_path)

    def init(*arguments: str, checkpoint: str = str(checkpoint)):
        status = main(["init", *arguments, "--checkpoint", checkpoint])
        printed = capsys.readouterr()
        return status, printed.out + printed.err, load_job("job.yaml") if status == 0 else None

    return init


def write_corpus(path, **columns):
    table = pa.table({"doc_id": ["a", "b", "c"], "lang": ["de", "en", "ja"], "title": ["x", "y", "z"], **columns})
    pq.write_table(table, path)


def test_job_for_the_demo_corpus_can_run(demo, written):
    status, printed, job = written(str(demo / "corpus"))
    assert status == 0
    assert "xlm try job.yaml\n" in printed
    assert (job.input.id, job.input.text, job.input.lang, job.input.keep) == ("id", "text", "lang", ["lang"])
    assert job.tokenizer.ja == "fugashi"
    capped = job.model_copy(update={"policy": job.policy.model_copy(update={"max_rejected": 1.0})})
    assert sum(record.rows_out for record in run_to_records(capped)) > 350


def test_heads_of_the_checkpoint_become_tasks(demo, tmp_path, written):
    settings = json.loads((demo / "checkpoint" / "config.json").read_text(encoding="utf-8"))
    settings |= {"id2label": {"0": "NOUN", "1": "VERB"}, "label2id": {"NOUN": 0, "VERB": 1}}
    XLMForTokenClassification(XLMConfig.from_dict(settings)).save_pretrained(tmp_path / "tagger")
    for name in ("vocab.json", "merges.txt", "tokenizer_config.json"):
        shutil.copy(demo / "checkpoint" / name, tmp_path / "tagger")
    status, printed, job = written(str(demo / "corpus"), checkpoint="tagger")
    assert status == 0, printed
    assert [task.kind for task in job.tasks] == ["feature-extraction", "token-classification"]
    assert main(["check", "job.yaml", "--quick"]) == 0


def test_hostile_column_names_are_quoted(tmp_path, written):
    write_corpus(tmp_path / "in.parquet", **{HOSTILE: ["A long text.", "Another one.", "長い文です。"]})
    status, printed, job = written("in.parquet")
    assert status == 0, printed
    assert job.input.text == HOSTILE
    assert job.input.id == "doc_id"
    assert main(["check", "job.yaml"]) == 0


def test_options_are_kept_and_unknown_columns_are_refused(tmp_path, written):
    write_corpus(tmp_path / "in.parquet", text=["A long text.", "Another one.", "A third one."])
    status, _, job = written("in.parquet", "--text", "title", "--lang", "fixed:fr", "--output", "elsewhere")
    assert (job.input.text, job.input.lang.fixed, job.output.path) == ("title", "fr", "elsewhere")
    status, printed, _ = written("in.parquet", "--text", "titel", "--force")
    assert status == 2
    assert printed == "xlm: --text: in.parquet has no column titel; did you mean title?\n"


def test_existing_job_file_is_not_replaced(tmp_path, written):
    write_corpus(tmp_path / "in.parquet", text=["A long text.", "Another one.", "A third one."])
    (tmp_path / "job.yaml").write_text("mine", encoding="utf-8")
    status, printed, _ = written("in.parquet")
    assert (status, printed) == (
        2,
        "xlm: job.yaml: exists; name another file with --file, or replace it with --force\n",
    )
    assert (tmp_path / "job.yaml").read_text(encoding="utf-8") == "mine"
    assert written("in.parquet", "--force")[0] == 0


def test_corpus_without_languages_needs_an_option(tmp_path, written):
    pq.write_table(pa.table({"text": ["Ein Text."], "size": [1]}), tmp_path / "in.parquet")
    status, printed, _ = written("in.parquet")
    assert status == 2
    assert printed.startswith("xlm: in.parquet: no column contains language codes of the checkpoint; add --lang COLUMN")
    assert written("in.parquet", "--lang", "fixed:de")[0] == 0


def test_languages_may_be_detected(tmp_path, written):
    pq.write_table(pa.table({"text": ["Ein Text."], "size": [1]}), tmp_path / "in.parquet")
    status, _, job = written("in.parquet", "--lang", "detect")
    assert (status, job.input.lang.detect, job.tokenizer.ja) == (0, "builtin://small", "fugashi")


def test_language_of_all_rows_is_checked(tmp_path, written):
    write_corpus(tmp_path / "in.parquet", text=["A long text.", "Another one.", "A third one."])
    assert written("in.parquet", "--lang", "de")[:2] == (
        2,
        "xlm: --lang: in.parquet has no column de; if it is the language of all rows, write fixed:de\n",
    )
    status, printed, _ = written("in.parquet", "--lang", "fixed:pl")
    assert status == 2
    assert printed.startswith("xlm: input.lang: 'pl' is not in the checkpoint's lang2id; its languages are ar, ")
    assert not (tmp_path / "job.yaml").exists()


def test_comments_say_how_many_rows_they_describe(tmp_path, written):
    write_corpus(tmp_path / "in.parquet", text=["A long text.", "Another one.", "A third one."])
    written("in.parquet")
    text = (tmp_path / "job.yaml").read_text(encoding="utf-8")
    assert "# unique in 3 rows of the corpus\n" in text
    assert "# in 3 rows of the corpus: de, en, ja; xlm check counts all rows\n" in text


def test_terminal_is_asked(tmp_path, checkpoint):
    write_corpus(tmp_path / "in.parquet", text=["A long text.", "Another one.", "A third one."])
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "jobs.cli", "init", "in.parquet", "--checkpoint", str(checkpoint)]
    env = os.environ | {"PYTHONPATH": str(Path.cwd())}
    process = subprocess.Popen(command, cwd=tmp_path, stdin=theirs, stdout=theirs, stderr=theirs, env=env)
    os.close(theirs)
    for answer in ("titel", "title", "", "-", "out2"):  # a typing error, the text, the language, the id, the output
        os.write(ours, f"{answer}\n".encode())
    shown = b""
    try:
        while chunk := os.read(ours, 4096):
            shown += chunk
    except OSError:  # the other end is closed
        pass
    assert process.wait() == 0, shown.decode()
    job = load_job(tmp_path / "job.yaml")
    assert (job.input.text, job.input.lang, job.input.id) == ("title", "lang", None)
    assert job.output.path == "out2"
    assert "did you mean title?" in shown.decode()
