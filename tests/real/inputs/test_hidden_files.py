"""Which files of a directory are read: hidden names, copies under way, paths and globs as people write them."""

import gzip
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import fsspec
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.orc as orc
import pyarrow.parquet as pq
import pytest

from jobs.cli import main
from pipelines.corpus.cut_shards import ShardLimits
from pipelines.corpus.plan import Plan
from pipelines.errors import FatalError
from pipelines.formatting import format_size
from pipelines.job import InputSettings, Job
from pipelines.run.prepare import prepare_job
from tests.chaos.bad_input.trial_job import TrialJob
from tests.plans import make_plan

ROWS = pa.table({"text": ["some text"], "lang": ["en"]})


def write(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(ROWS, file)


def plan_of(path: str | list[str], **settings: Any) -> Plan:
    return make_plan(
        InputSettings.model_validate({"path": path, "text": "text", "lang": "lang"} | settings), ShardLimits(10), []
    )


def files_of(path: str, folder: Path) -> list[str]:
    """Return the paths of the files that a plan reads, below a folder."""
    return [file.removeprefix(f"{folder}/") for file in plan_of(path).corpus.row_groups["file"].to_pylist()]


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    for name in (
        "a.parquet",
        "_year=2020/b.parquet",
        "year=2021/c.parquet",
        "_temporary/0/d.parquet",
        ".hidden/e.parquet",
        "part-0.parquet._COPYING_",
        "_metadata",
    ):
        write(tmp_path / "lake" / name)
    (tmp_path / "lake/_SUCCESS").touch()
    return tmp_path / "lake"


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("", ["_year=2020/b.parquet", "a.parquet", "year=2021/c.parquet"]),
        ("/", ["_year=2020/b.parquet", "a.parquet", "year=2021/c.parquet"]),
        ("/*", ["a.parquet"]),
        ("/*/*.parquet", ["_year=2020/b.parquet", "year=2021/c.parquet"]),
        ("/_year=2020/*.parquet", ["_year=2020/b.parquet"]),
        ("/_year=*/*.parquet", ["_year=2020/b.parquet"]),
        ("/**/_year=2020/*", ["_year=2020/b.parquet"]),
        ("/*year=*/", ["_year=2020/b.parquet", "year=2021/c.parquet"]),
        ("/_year=2020", ["_year=2020/b.parquet"]),
        # names that the path spells out are not hidden
        ("/_temporary", ["_temporary/0/d.parquet"]),
        ("/_temp*/*/*.parquet", ["_temporary/0/d.parquet"]),
        ("/part-0.parquet._COPYING_", ["part-0.parquet._COPYING_"]),
    ],
)
def test_hidden_names_are_those_of_spark(lake, pattern, expected):
    assert files_of(f"{lake}{pattern}", lake) == expected


def test_hidden_files_are_counted(lake, demo, tmp_path, capsys):
    job = TrialJob(tmp_path / "job", demo)
    job.set("input.path", str(lake))
    job.set("input.id", None)
    job.job_file.write_text(job.to_yaml())
    expected = f"not read: 5 hidden files, such as {lake}/.hidden/e.parquet"
    for command in ("plan", "check"):
        assert main([command, str(job.job_file)]) == 0
        assert expected in capsys.readouterr().out.replace("\n", "")


def test_plan_prints_long_file_names_whole_and_with_their_numbers(demo, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    job = TrialJob(tmp_path / "job", demo)
    file = tmp_path / f"part-00000-{'7d5e4334-' * 15}c000.snappy.parquet"
    write(file)
    job.set("input.path", str(file))
    job.set("input.id", None)
    job.job_file.write_text(job.to_yaml())
    assert main(["plan", str(job.job_file), "--quick"]) == 0
    titles, line, *_ = capsys.readouterr().out.splitlines()
    assert titles.split() == ["shards", "rows", "size", "file"]
    size = format_size(file.stat().st_size)
    assert line.split(maxsplit=4) == ["1", "1", *size.split(), str(file)]


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"text": "txt"}, "no column txt; did you mean text?"),
        ({"lang": "xx"}, "no column xx; it has text, lang; if xx is the language of all rows, write lang: {fixed: xx}"),
        (
            {"lang": "fixed:pl"},
            "no column fixed:pl; it has text, lang; if pl is the language of all rows, write lang: {fixed: pl}",
        ),
        (
            {"filter": "text == nw"},
            'no column nw; it has text, lang; if nw is a text to compare with, write "nw" in quotes',
        ),
        (
            {"keep": {"text": "body"}},
            "no column body; it has text, lang; keep is {new name: column}, so write keep: {body: text}",
        ),
    ],
)
def test_columns_that_all_files_lack_are_one_line_with_the_likely_cause(tmp_path, settings, problem):
    for i in range(3):
        write(tmp_path / f"{i}.parquet")
    with pytest.raises(FatalError) as error:
        plan_of(str(tmp_path), **settings)
    assert str(error.value) == f"{tmp_path}/0.parquet and 2 more files: {problem}"


def test_directory_of_only_hidden_files(lake):
    (lake / ".hidden" / "_x").mkdir()
    write(lake / ".hidden" / "_x" / "f.parquet")
    (lake / ".hidden" / "e.parquet").unlink()
    message = rf"hidden: no data files \(1 hidden file, such as {lake}/.hidden/_x/f.parquet\); correct input.path"
    with pytest.raises(FatalError, match=message):
        plan_of(f"{lake}/.hidden")


def test_spellings_of_one_local_path(lake, tmp_path, monkeypatch):
    """The same files have the same URLs, so the output of one spelling is resumed with another."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(lake)
    write(tmp_path / "elsewhere/lake/x/a.parquet")
    (lake / "link").symlink_to(tmp_path / "elsewhere/lake/x")
    expected = [f"{lake}/a.parquet"]
    for path in (
        "a.parquet",
        "./a.parquet",
        "a.par*",
        "~/lake/a.parquet",
        f"file://{lake}/a.parquet",
        f"file:{lake}/a.parquet",
        f"file://localhost{lake}/a.parquet",
        f"file://{lake}/%61.parquet",
        f"file://{tmp_path}/l%61ke/a*.parquet",
        "../lake/a.parquet",
    ):
        assert plan_of(path).corpus.row_groups["file"].to_pylist() == expected, path
    # `..` after a link is the parent of its target, as for the operating system
    write(tmp_path / "elsewhere/lake/b.parquet")
    assert plan_of("link/../b.parquet").corpus.row_groups["file"].to_pylist() == [
        f"{tmp_path}/elsewhere/lake/b.parquet"
    ]
    with pytest.raises(FatalError, match=r"file://lake/a.parquet: not the URL of a local file; write a path, or file:"):
        plan_of("file://lake/a.parquet")


def test_percent_is_an_escape_only_in_urls(tmp_path):
    write(tmp_path / "100%25.parquet")
    assert plan_of(f"{tmp_path}/100%25.parquet").num_rows == 1
    assert plan_of(f"file://{tmp_path}/100%2525.parquet").num_rows == 1


@pytest.mark.parametrize("section", ["input", "output", "checkpoint", "head"])
def test_environment_variables_are_refused_everywhere(demo, tmp_path, capsys, section):
    """Taken literally, `$HOME/out` would be a directory named `$HOME`."""
    job = TrialJob(tmp_path, demo)
    match section:
        case "head":
            job.set("tasks", [{"text-classification": {"head": "$HOME/heads/topic"}}])
        case "checkpoint":
            job.set("model.checkpoint", "${HOME}/checkpoint")
        case _:
            job.set(f"{section}.path", "$HOME/x")
    job.job_file.write_text(job.to_yaml())
    assert main(["check", str(job.job_file)]) == 2
    assert "HOME" in (message := capsys.readouterr().err)
    assert "job files do not expand environment variables" in " ".join(message.split())


def test_file_with_only_an_etag_or_a_time_is_another_file_after_a_change():
    """A store without modification times, as fsspec sees it: the size alone would hide the change."""
    memory = fsspec.filesystem("memory")

    def put(text: str) -> None:
        with memory.open("/etags/a.parquet", "wb") as file:
            pq.write_table(pa.table({"text": [text], "lang": ["en"]}), file)

    put("some text")
    first, again = plan_of("memory://etags"), plan_of("memory://etags/*.parquet")
    assert again.shards["shard"].to_pylist() == first.shards["shard"].to_pylist()
    size = memory.size("/etags/a.parquet")
    put("text some")
    assert memory.size("/etags/a.parquet") == size
    changed = [plan_of(f"memory://etags{name}").shards["shard"].to_pylist() for name in ("", "/a.parquet")]
    assert changed[0] == changed[1] != first.shards["shard"].to_pylist()


@pytest.mark.parametrize(
    ("path", "out", "message"),
    [
        ("in", "in", "is input.path {0}/in,"),
        ("link/", "in", "is input.path {0}/link/,"),
        ("in", "in/x/out", "is inside input.path {0}/in,"),
        ("in/", "link/out", "is inside input.path {0}/in/,"),
        ("link", "in/out", "is inside input.path {0}/link,"),
        ("in/../in", "link/out", "is inside input.path {0}/in/../in,"),
        ("in/a.parquet", "link", "contains input.path {0}/in/a.parquet,"),
        ("in/*.parquet", "link", "contains input.path {0}/in/*.parquet,"),
        ("*/*/*/*.parquet", "in/out", "is inside input.path {0}/*/*/*/*.parquet,"),
        ("**/*.parquet", "new/out", "is inside input.path {0}/**/*.parquet,"),
        ("*/", "new/out", "is inside input.path {0}/*/,"),
        ("with_link", "elsewhere/out", "is inside input.path {0}/with_link, through the link {0}/with_link/far,"),
        ("linked_file", "in", "contains {0}/linked_file/b.parquet, a file of input.path,"),
        ("linked_folder/*/*.parquet", "in", "contains {0}/linked_folder/in/a.parquet, a file of input.path,"),
        ("in/*.parquet", "in/out", None),
        ("*/*.parquet", "in/out", None),
        ("in", "in2/out", None),
        ("with_link/*.parquet", "elsewhere/out", None),
    ],
)
def test_output_and_input_within_each_other(tmp_path, demo, path, out, message):
    """Links and globs are followed, before anything is written. The message says which contains which."""
    for name in ("in/a.parquet", "with_link/c.parquet", "linked_file/d.parquet", "new/e.parquet"):
        write(tmp_path / name)
    for name in ("elsewhere", "linked_folder"):
        (tmp_path / name).mkdir()
    for link, target in (("link", "in"), ("with_link/far", "elsewhere"), ("linked_folder/in", "in")):
        (tmp_path / link).symlink_to(tmp_path / target)
    (tmp_path / "linked_file/b.parquet").symlink_to(tmp_path / "in/a.parquet")
    job = TrialJob(tmp_path / "job/job", demo)
    job.settings["input"] = {"path": f"{tmp_path}/{path}", "text": "text", "lang": "lang"}
    job.set("output.path", f"{tmp_path}/{out}")
    if message is None:
        prepare_job(Job.model_validate(job.settings))
    else:
        with pytest.raises(FatalError) as error:
            prepare_job(Job.model_validate(job.settings))
        expected = f"output.path {tmp_path}/{out}: {message.format(tmp_path)} so results would be read as input; set a"
        assert str(error.value).startswith(expected)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", b"text,lang,id\nsome text,en,007\n"),
        ("a.tsv", b"text\tlang\tid\nsome text\ten\t007\n"),
        ("a's.csv.gz", gzip.compress(b'text,lang,id\n"some text",en,007\n')),
        ("a.jsonl", b'{"text": "some text", "lang": "en", "id": "007"}\n'),
        ("a.json", b'[{"text": "some text", "lang": "en", "id": "007"}]'),
        ("a.NDJSON.gz", gzip.compress(b'{"text": "some text", "lang": "en", "id": "007"}\n')),
    ],
    ids=["csv", "tsv", "csv.gz", "jsonl", "json", "ndjson.gz"],
)
@pytest.mark.parametrize("num_files", [1, 2])
def test_other_formats_are_converted_by_the_given_command(tmp_path, monkeypatch, name, content, num_files):
    folder = tmp_path / "in $x"
    folder.mkdir()
    for i in range(num_files):
        (folder / f"{i}{name}").write_bytes(content)
    with pytest.raises(FatalError) as error:
        plan_of(str(folder))
    (message,) = str(error.value).splitlines()
    assert "but only Parquet is read; name the Parquet files, or convert with DuckDB's command line" in message
    program, option, statement = shlex.split(message.partition("corpus.parquet: ")[2])
    assert (program, option) == ("duckdb", "-c")
    monkeypatch.chdir(tmp_path)
    duckdb.sql(statement)
    assert pq.read_table("corpus.parquet").to_pylist() == [{"text": "some text", "lang": "en", "id": "007"}] * num_files
    assert plan_of("corpus.parquet", id="id").num_rows == num_files


@pytest.mark.parametrize(("name", "write_table"), [("a.arrow", feather.write_feather), ("a.orc", orc.write_table)])
def test_arrow_and_orc_files_are_converted_by_the_given_command(tmp_path, monkeypatch, name, write_table):
    write_table(ROWS, str(tmp_path / name))
    with pytest.raises(FatalError) as error:
        plan_of(str(tmp_path))
    program, option, code = shlex.split(str(error.value).partition("corpus.parquet: ")[2])
    assert (program, option) == ("python", "-c")
    monkeypatch.chdir(tmp_path)
    subprocess.run([sys.executable, "-c", code], check=True)
    assert pq.read_table("corpus.parquet").equals(ROWS)
