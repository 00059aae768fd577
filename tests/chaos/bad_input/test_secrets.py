"""What must not get out, and what must not get in: row text, credentials, markup, code, paths.

One job is run on Ray as a person would run it, over a corpus that is as hostile as can be, with credentials in the
environment; then everything that it said and everything that it left is searched.
"""

import json
import os
import pickle
import subprocess
import sys
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from jobs.cli import main
from pipelines.corpus.plan import PLAN
from pipelines.storage.options import holds_secret, refusal
from tests.chaos.bad_input.bench import Bench, column_of
from tests.flow.in_process import read_output, read_rejected, run_stages
from xlm_core import SequenceClassificationHead, XLMConfig, XLMTokenizer

CANARY = "Kanarienvogel"  # stands in every text, good or bad
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
    """Make rows that are rejected for every reason, with ids that are paths, and metadata that is code."""
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
    columns = [column_of(column, pa.string()) for column in (ids, text, lang, note)]
    return pa.Table.from_arrays(columns, schema=pa.schema(fields, metadata=pandas))


@dataclass
class Run:
    """A run that is over."""

    folder: Path
    out: Path
    status: int
    said: str
    trap: Path

    def files(self) -> dict[str, bytes]:
        """Everything below the output, by its path there."""
        return {str(path.relative_to(self.out)): path.read_bytes() for path in self.out.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def hostile_run(demo, tmp_path_factory) -> Run:
    """The job, run in a process of its own; its settings are as hostile as settings can be that are let in."""
    folder = tmp_path_factory.mktemp("hostile")
    bench, trap = Bench(folder, demo), folder / "executed"
    (bench.corpus / "a.parquet").unlink()
    bench.write(hostile_rows(trap), "".join(c for c in MARKUP if c != "/") + ".parquet")
    damaged = bench.write(pa.table({"id": ["z"], "text": [CANARY], "lang": ["de"], "note": [CANARY]}), "'<b>.parquet")
    data = bytearray(damaged.read_bytes())
    data[4:60] = b"\xff" * 56  # the headers of the first pages
    damaged.write_bytes(data)
    config = json.loads((demo / "heads" / "topic" / "config.json").read_text(encoding="utf-8"))
    labels = {str(i): f"{MARKUP} {i}" for i in range(3)}
    head = XLMConfig.from_dict({k: v for k, v in config.items() if k != "label2id"} | {"id2label": labels})
    SequenceClassificationHead(head).save_pretrained(folder / "head")
    bench.set("tasks", ["feature-extraction", {"text-classification": {"head": str(folder / "head")}}])
    bench.set("input.keep", ["lang"])
    bench.set("tokenizer", {"max_length": 128, "ja": "fugashi", "on_overflow": "reject", "max_chars": 5_000})
    bench.set("policy", {"max_rejected": 1.0, "max_failed_shards": 5})
    bench.set("compute", {"tokenizers": 1, "models": 1, "object_store_mb": 100})
    bench.job_file.write_text(bench.text(), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "jobs.cli", "run", str(bench.job_file)],
        env=os.environ | SECRETS,
        cwd=Path(__file__).parents[3],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=240,
    )
    return Run(folder, bench.out, done.returncode, done.stdout.decode(), trap)


def test_the_run_did_what_it_could(hostile_run):
    """Otherwise what follows would prove nothing."""
    assert hostile_run.status == 0, hostile_run.said
    assert read_output(str(hostile_run.out))["id"].to_pylist() == ESCAPES
    reasons = sorted(row["reason"] for row in read_rejected(str(hostile_run.out)))
    assert reasons == ["invalid_utf8", "null_id", "null_lang", "too_many_chars", "too_many_tokens", "unknown_lang"]
    report = json.loads((hostile_run.out / "_xlm" / "report.json").read_text(encoding="utf-8"))
    (failed,) = report["failed"]
    assert "'<b>.parquet: row group 0 cannot be read" in failed["error"]
    assert not (hostile_run.out / "_SUCCESS").exists()


def test_no_text_of_a_row_is_told(hostile_run):
    """Not where it is rejected, nor where its shard fails; embeddings and labels quote nothing either."""
    assert CANARY not in hostile_run.said
    for name, data in hostile_run.files().items():
        assert CANARY.encode() not in data, name
        if name.endswith(".parquet"):  # pages are compressed
            assert CANARY not in str(pq.read_table(hostile_run.out / name).to_pylist()), name


def test_no_credential_is_told(hostile_run):
    for name, secret in SECRETS.items():
        assert secret not in hostile_run.said, name
        for path, data in hostile_run.files().items():
            assert secret.encode() not in data, (name, path)


class Tags(HTMLParser):
    """The tags of a page."""

    def __init__(self, html: str):
        super().__init__()
        self.names: set[str] = set()
        self.attributes: set[str] = set()
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.names.add(tag)
        self.attributes |= {name for name, _ in attrs}


def test_the_report_shows_markup_as_text(hostile_run):
    html = (hostile_run.out / "_xlm" / "report.html").read_text(encoding="utf-8")
    assert "&lt;script&gt;alert(&#x27;x&#x27;)" in html  # so the page does name the file
    page = Tags(html)
    assert not {"script", 'b"', "img", "iframe", "a", "link"} & page.names
    assert not {name for name in page.attributes if name.startswith(("on", "src", "href"))}
    assert "<script" not in html


def test_no_pickle_of_the_data_runs(hostile_run):
    assert not hostile_run.trap.exists()
    pickle.loads(pickle.dumps(Malicious(hostile_run.trap)))
    assert hostile_run.trap.exists()  # so the trap works
    hostile_run.trap.rmdir()


def test_ids_and_columns_name_no_files(hostile_run):
    """Whatever the ids are, exactly these files are there, and nothing beside the output."""
    shards = pq.read_table(hostile_run.out / "_xlm" / "plan.parquet", schema=PLAN)["shard"].to_pylist()
    parts = {path.name for path in hostile_run.out.glob("part-*")}
    assert len(parts) == len(shards) - 1  # one of the two shards failed
    assert parts <= {f"part-{shard}.parquet" for shard in shards}
    fixed = {"_xlm/job.json", "_xlm/plan.parquet", "_xlm/report.html", "_xlm/report.json", "_xlm/lock"}
    names = set(hostile_run.files())
    ledger = {name for name in names if name.startswith("_xlm/ledger/")}
    assert names - ledger == parts | {f"_xlm/rejected/{part}" for part in parts} | fixed
    assert {path.name for path in hostile_run.folder.iterdir()} == {"corpus", "head", "job.yaml", "out"}


def test_the_terminal_gets_no_codes_from_the_data(hostile_run):
    """A file's name, or a text, must not move the cursor or colour what follows."""
    assert "\x1b" not in hostile_run.said
    assert "\x00" not in hostile_run.said


def test_an_error_that_quotes_the_text_is_not_repeated(demo, tmp_path, monkeypatch):
    """What libraries raise may hold the row; a shard's error tells its kind and place."""

    def fail(self, texts, *_, **__):
        raise ValueError(f"cannot cut {list(texts)}")

    monkeypatch.setattr(XLMTokenizer, "encode_batch", fail)
    bench = Bench(tmp_path, demo)
    bench.write(pa.table({"id": ["a"], "text": [CANARY], "lang": ["de"]}))
    (result,) = run_stages(job_of(bench))
    assert result.failure is not None
    assert result.failure.message.startswith("ValueError at test_secrets.py:")
    assert CANARY not in repr(result)


def test_a_column_of_texts_that_is_named_as_that_of_languages_is_not_quoted(demo, tmp_path):
    bench = Bench(tmp_path, demo)
    bench.write(pa.table({"id": ["a"], "text": [CANARY], "lang": [f"{CANARY} is a text"]}))
    run_stages(job_of(bench))
    (row,) = read_rejected(str(bench.out))
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
def test_a_url_with_credentials_is_refused_and_not_repeated(demo, tmp_path, capsys, url, setting):
    bench = Bench(tmp_path, demo)
    value = [{"text-classification": {"head": url}}] if setting == "tasks" else url
    bench.set(setting, value)
    bench.job_file.write_text(yaml.safe_dump(bench.settings), encoding="utf-8")
    assert main(["run", str(bench.job_file)]) == 2
    captured = capsys.readouterr()
    assert "canarysecret" not in captured.out + captured.err
    assert len(captured.err.strip().splitlines()) == 1
    assert not bench.out.exists()


@pytest.mark.parametrize("url", URLS)
def test_a_url_with_credentials_on_the_command_line_is_not_repeated(demo, tmp_path, capsys, url):
    bench = Bench(tmp_path, demo)
    bench.job_file.write_text(yaml.safe_dump(bench.settings), encoding="utf-8")
    assert main(["run", str(bench.job_file), "--set", f"output.path={url}"]) == 2
    captured = capsys.readouterr()
    assert "canarysecret" not in captured.out + captured.err


def job_of(bench: Bench):
    """Give the bench's job."""
    from pipelines.job.job import Job

    return Job.model_validate(bench.settings)


@pytest.mark.parametrize(
    "url",
    [
        "filecache::https://somebody:canarysecret@host/a.parquet",
        "simplecache::s3://KEY:canarysecret@bucket/c/",
        "zip://a.parquet::https://host/c.zip?sig=canarysecret",
        "zip://a.parquet?token=canarysecret::s3://bucket/c.zip",
    ],
)
def test_a_secret_in_any_link_of_a_chained_url_is_refused_and_not_shown(url):
    assert holds_secret(url)
    assert "canarysecret" not in refusal(url)
    assert not holds_secret("filecache::zip://a.parquet::https://host/c.zip")
