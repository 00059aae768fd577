"""Row text and credentials do not leak, and markup, code and paths in the data have no effect.

The command line runs one job on Ray, over a hostile corpus, with credentials in the environment. The tests then search
everything that it printed and wrote.
"""

import json
import os
import pickle
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from jobs.cli import main
from pipelines.job import Job
from pipelines.storage.store_settings import contains_secret, secret_in_url_message
from tests.chaos.bad_input.row_cases import make_column
from tests.chaos.bad_input.trial_job import TrialJob
from tests.flow.in_process import read_output, read_rejected, run_stages
from xlm_core import SequenceClassificationHead, XLMConfig, XLMTokenizer

CANARY = "Kanarienvogel"  # part of every text, good or bad
SECRETS = {
    "AWS_ACCESS_KEY_ID": "AKIACANARYKEY0000001",
    "AWS_SECRET_ACCESS_KEY": "canary/secret+key/0000000000000000000001",
    "AWS_SESSION_TOKEN": "canarysessiontoken0000001",
    "AZURE_STORAGE_KEY": "Y2FuYXJ5YXp1cmVrZXkwMDAwMDAx",
    "HF_TOKEN": "hf_canarytoken0000001",
}
MARKUP = """<script>alert('x')<"b">&amp;"""
ESCAPES = ["../../../escaped", "/tmp/escaped", "a/b/c", "..", "x\x00y", MARKUP]


class Malicious:
    """A pickle that makes a directory when it is loaded."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def hostile_rows(trap: Path) -> pa.Table:
    """Make rows with paths as ids, rows that are rejected for each reason, and metadata that contains a pickle."""
    texts = [f"{CANARY} {i}." for i in range(len(ESCAPES))]
    rows = [
        *((row_id, text, "de", text) for row_id, text in zip(ESCAPES, texts, strict=True)),
        ("utf8", CANARY.encode() + b"\xff", "de", None),
        ("lang", CANARY, "tlh", None),
        ("no lang", CANARY, None, None),
        (None, CANARY, "de", None),
        ("long", f"{CANARY} " * 100, "de", None),
        ("chars", f"{CANARY} " * 1_000, "de", None),
    ]
    ids, text, lang, note = ([row[i] for row in rows] for i in range(4))
    payload = pickle.dumps(Malicious(trap))
    extension = {"ARROW:extension:name": "arrow.py_extension_type", "ARROW:extension:metadata": payload}
    fields = [
        pa.field("id", pa.string(), metadata=extension),
        pa.field("text", pa.string(), metadata=extension),
        pa.field("lang", pa.string()),
        pa.field("note", pa.string(), metadata=extension),
    ]
    pandas = {"pandas": json.dumps({"index_columns": ["__index__"], "columns": [{"metadata": payload.hex()}]})}
    columns = [make_column(column, pa.string()) for column in (ids, text, lang, note)]
    return pa.Table.from_arrays(columns, schema=pa.schema(fields, metadata=pandas))


@dataclass
class HostileRun:
    """A run that has ended.

    Attributes:
        folder: contains the job file, the corpus and the output.
        out: the output.
        status: exit status.
        printed: stdout and stderr.
        trap: the directory that the pickles in the data would make.
    """

    folder: Path
    out: Path
    status: int
    printed: str
    trap: Path

    def files(self) -> dict[str, bytes]:
        """Read all files of the output, by relative path."""
        return {str(path.relative_to(self.out)): path.read_bytes() for path in self.out.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def hostile_run(demo, tmp_path_factory) -> HostileRun:
    """Run the job in another process. Its label names and file names contain markup as well."""
    folder = tmp_path_factory.mktemp("hostile")
    job, trap = TrialJob(folder, demo), folder / "executed"
    (job.corpus / "a.parquet").unlink()
    job.write(hostile_rows(trap), "".join(c for c in MARKUP if c != "/") + ".parquet")
    damaged = job.write(pa.table({"id": ["z"], "text": [CANARY], "lang": ["de"], "note": [CANARY]}), "'<b>.parquet")
    data = bytearray(damaged.read_bytes())
    data[4:60] = b"\xff" * 56  # the headers of the first pages
    damaged.write_bytes(data)
    config = json.loads((demo / "heads" / "topic" / "config.json").read_text(encoding="utf-8"))
    labels = {str(i): f"{MARKUP} {i}" for i in range(3)}
    head = XLMConfig.from_dict({k: v for k, v in config.items() if k != "label2id"} | {"id2label": labels})
    SequenceClassificationHead(head).save_pretrained(folder / "head")
    job.set("tasks", ["feature-extraction", {"text-classification": {"head": str(folder / "head")}}])
    job.set("input.keep", ["lang"])
    job.set("tokenizer", {"max_length": 128, "ja": "fugashi", "on_overflow": "reject", "max_chars": 5_000})
    job.set("policy", {"max_rejected": 1.0, "max_failed_shards": 5})
    job.set("output.rows_per_shard", len(hostile_rows(trap)))  # the damaged file has a shard of its own
    job.set("compute", {"tokenizers": 1, "models": 1, "object_store_mb": 100})
    job.job_file.write_text(job.to_yaml(), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "jobs.cli", "run", str(job.job_file)],
        env=os.environ | SECRETS,
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=240,
    )
    return HostileRun(folder, job.out, done.returncode, done.stdout.decode(), trap)


def test_hostile_run_writes_rejects_and_fails_the_expected_rows(hostile_run):
    """Otherwise the other tests would prove nothing."""
    assert hostile_run.status == 0, hostile_run.printed
    assert read_output(str(hostile_run.out))["id"].to_pylist() == ESCAPES
    reasons = sorted(row["reason"] for row in read_rejected(str(hostile_run.out)))
    assert reasons == ["invalid_utf8", "null_id", "null_lang", "too_many_chars", "too_many_tokens", "unknown_lang"]
    report = json.loads((hostile_run.out / "_xlm" / "report.json").read_text(encoding="utf-8"))
    (failed,) = report["failed"]
    assert "'<b>.parquet: row group 0 cannot be read" in failed["error"]
    assert not (hostile_run.out / "_SUCCESS").exists()


def test_row_text_is_not_printed_or_written(hostile_run):
    """Neither for rejected rows nor for failed shards. Embeddings and labels contain no text either."""
    assert CANARY not in hostile_run.printed
    for name, data in hostile_run.files().items():
        assert CANARY.encode() not in data, name
        if name.endswith(".parquet"):  # pages are compressed
            assert CANARY not in str(pq.read_table(hostile_run.out / name).to_pylist()), name


def test_credentials_are_not_printed_or_written(hostile_run):
    for name, secret in SECRETS.items():
        assert secret not in hostile_run.printed, name
        for path, data in hostile_run.files().items():
            assert secret.encode() not in data, (name, path)


class TagCollector(HTMLParser):
    """Collects all tags and attributes of a page."""

    def __init__(self, html: str):
        super().__init__()
        self.tags = Counter[str]()
        self.attributes: set[tuple[str, str | None]] = set()
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags[tag] += 1
        self.attributes |= {*attrs}


def test_report_page_escapes_markup(hostile_run):
    html = (hostile_run.out / "_xlm" / "report.html").read_text(encoding="utf-8")
    assert "&lt;script&gt;alert(&#39;x&#39;)" in html  # the page contains the name of the file
    page = TagCollector(html)
    assert not {'b"', "img", "iframe", "link"} & page.tags.keys()
    assert page.tags["script"] == html.count("<script") == 3  # the values of the charts, ECharts, and the page's own
    assert not [name for name, _ in page.attributes if name.startswith(("on", "src"))]
    links = {value for name, value in page.attributes if name == "href"}
    assert links <= {"#failed", "#rows", "#languages", "#speed", "#results", "#job"}


def test_pickles_in_the_data_are_not_loaded(hostile_run):
    assert not hostile_run.trap.exists()
    pickle.loads(pickle.dumps(Malicious(hostile_run.trap)))
    assert hostile_run.trap.exists()  # loading it does make the directory
    hostile_run.trap.rmdir()


def test_ids_do_not_affect_file_names(hostile_run):
    """The output contains exactly the expected files, and nothing is written outside it."""
    shards = pq.read_table(hostile_run.out / "_xlm" / "plan.parquet", columns=["shard"])["shard"].to_pylist()
    parts = {path.name for path in (hostile_run.out / "data").iterdir()}
    assert len(parts) == len(shards) - 1  # one of the two shards failed
    assert parts <= {f"part-{shard}.parquet" for shard in shards}
    fixed = {"_xlm/job.json", "_xlm/plan.parquet", "_xlm/report.html", "_xlm/report.json", "_xlm/run.json", "_xlm/lock"}
    names = set(hostile_run.files())
    ledger = {name for name in names if name.startswith("_xlm/ledger/")}
    assert names - ledger == {f"{folder}/{part}" for folder in ("data", "_xlm/rejected") for part in parts} | fixed
    assert {path.name for path in hostile_run.folder.iterdir()} == {"corpus", "head", "job.yaml", "out"}


def test_printed_text_has_no_control_characters_from_the_data(hostile_run):
    """A file name or a text could otherwise move the terminal's cursor or change its colours."""
    assert "\x1b" not in hostile_run.printed
    assert "\x00" not in hostile_run.printed


def test_error_message_that_quotes_the_text_is_not_recorded(demo, tmp_path, monkeypatch):
    """Messages of libraries may quote the row. A shard's failure has only the error's type and place in the code."""

    def fail(self, texts, *_, **__):
        raise ValueError(f"cannot cut {list(texts)}")

    monkeypatch.setattr(XLMTokenizer, "encode_batch", fail)
    job = TrialJob(tmp_path, demo)
    job.write(pa.table({"id": ["a"], "text": [CANARY], "lang": ["de"]}))
    (result,) = run_stages(Job.model_validate(job.settings))
    assert result.failure is not None
    assert result.failure.message.startswith("ValueError at test_secrets.py:")
    assert CANARY not in repr(result)


def test_text_in_the_language_column_is_not_quoted(demo, tmp_path):
    job = TrialJob(tmp_path, demo)
    job.write(pa.table({"id": ["a"], "text": [CANARY], "lang": [f"{CANARY} is a text"]}))
    run_stages(Job.model_validate(job.settings))
    (row,) = read_rejected(str(job.out))
    assert row["reason"] == "unknown_lang"
    assert CANARY not in row["detail"]


URLS = [
    "s3://AKIACANARYKEY0000001:canarysecret0000001@bucket/corpus/",
    "s3://bucket/corpus/?access_key=AKIACANARYKEY0000001&secret_key=canarysecret0000001",
    "https://user:canarysecret0000001@example.com/corpus/a.parquet",
    "abfs://container@account.dfs.core.windows.net/corpus?sig=canarysecret0000001",
]


@pytest.mark.parametrize("setting", ["input.path", "output.path", "model.checkpoint", "tasks"])
@pytest.mark.parametrize("url", URLS)
def test_url_with_credentials_is_refused_and_not_printed(demo, tmp_path, capsys, url, setting):
    job = TrialJob(tmp_path, demo)
    value = [{"text-classification": {"head": url}}] if setting == "tasks" else url
    job.set(setting, value)
    job.job_file.write_text(yaml.safe_dump(job.settings), encoding="utf-8")
    assert main(["run", str(job.job_file)]) == 2
    captured = capsys.readouterr()
    assert "canarysecret" not in captured.out + captured.err
    assert len(captured.err.strip().splitlines()) == 1
    assert not job.out.exists()


@pytest.mark.parametrize("url", URLS)
def test_url_with_credentials_on_the_command_line_is_not_printed(demo, tmp_path, capsys, url):
    job = TrialJob(tmp_path, demo)
    job.job_file.write_text(yaml.safe_dump(job.settings), encoding="utf-8")
    assert main(["run", str(job.job_file), "--set", f"output.path={url}"]) == 2
    captured = capsys.readouterr()
    assert "canarysecret" not in captured.out + captured.err


@pytest.mark.parametrize(
    "url",
    [
        "filecache::https://somebody:canarysecret@host/a.parquet",
        "simplecache::s3://KEY:canarysecret@bucket/c/",
        "zip://a.parquet::https://host/c.zip?sig=canarysecret",
        "zip://a.parquet?token=canarysecret::s3://bucket/c.zip",
    ],
)
def test_secret_in_any_part_of_a_chained_url_is_refused_and_not_printed(url):
    assert contains_secret(url)
    assert "canarysecret" not in secret_in_url_message(url)
    assert not contains_secret("filecache::zip://a.parquet::https://host/c.zip")
