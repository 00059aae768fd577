# ruff: noqa: E501 - a message is on one line
"""Names of output columns: DuckDB, Spark, Hive and BigQuery cannot distinguish names that differ only in case."""

import json

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from jobs.cli import main
from jobs.preview.read import read_preview
from pipelines.diff import compare_outputs
from pipelines.errors import FatalError
from pipelines.output.directory import Output
from pipelines.run.prepare import prepare_job
from pipelines.verify import verify
from tests.flow.in_process import read_output, run_to_records


@pytest.fixture
def job_with(make_job, corpus, checkpoints, tmp_path):
    """Return a function that makes a job over sentences with the columns `Label`, `title` and `Score`."""
    rows = [row for row in corpus if row["lang"] in ("de", "en")][18:26]
    table = pa.Table.from_pylist(rows)
    table = table.append_column("Label", pa.array([f"given {i}" for i in range(8)], pa.large_string()))
    table = table.append_column("title", pa.array([f"title {i}" for i in range(8)]))
    table = table.append_column("Score", pa.array(range(8), pa.int16()))
    pq.write_table(table, tmp_path / "in.parquet")
    topic = str(checkpoints / "heads" / "topic")

    def make(keep, *prefixes, **changes):
        tasks = [{"text-classification": {"head": topic, "prefix": prefix}} for prefix in prefixes or [""]]
        spec = {"path": str(tmp_path / "in.parquet"), "id": "id", "text": "text", "lang": "lang", "keep": keep}
        return make_job(
            input=spec | changes, tasks=tasks, model__checkpoint=str(checkpoints / "lm"), output__rows_per_shard=4
        )

    make.table = table
    return make


def write(job):
    """Write the complete output of a job."""
    records, prepared = run_to_records(job), prepare_job(job)
    output = Output(prepared.output)
    output.begin(prepared.description, prepared.plan.shards)
    output.ledger.append(records)
    output.finish({}, "", success=True)
    return output


@pytest.mark.parametrize(
    ("keep", "prefixes", "changes", "message"),
    [
        (["Label"], [""], {}, "text-classification writes label, which most readers cannot tell from Label of input.keep; "
         "set the prefix of the task, as in prefix: my_, or rename the kept column, as in keep: {source_label: Label}"),
        ({"LABEL": "title"}, [""], {}, "cannot tell from LABEL of input.keep"),
        (["T_label"], ["t_"], {}, "text-classification writes t_label, which most readers cannot tell from T_label of input.keep"),
        ([], ["t_", "T_"], {}, "text-classification writes T_label, T_score, which most readers cannot tell from t_label, t_score "
         "of tasks.0 (text-classification); set the prefix of the task, as in prefix: my_"),
        ([], ["a", "a"], {}, "text-classification writes alabel, ascore, and so does tasks.0 (text-classification)"),
        ([], [""], {"id": "Label"}, "text-classification writes label, which most readers cannot tell from Label of the row's id"),
        (["title", "Title"], [""], {}, "Title and title differ only in case, which most readers ignore; rename one, as in "
         "keep: {source_title: Title}"),
        (["ID"], [""], {}, "ID and input.id id differ only in case"),
        (["File"], [""], {"id": None}, "without input.id, the output has its own column file; set input.id"),
        ({"id": "title"}, [""], {}, "id is input.id, which is always in the output"),
        ({"_xlm_a": "title"}, [""], {}, "names that start with _xlm_ are reserved"),
        (7, [""], {}, "expected a list of columns or a mapping {new_name: column}"),
    ],
)  # fmt: skip
def test_names_that_readers_confuse_are_refused(job_with, keep, prefixes, changes, message):
    with pytest.raises(ValidationError) as error:
        job_with(keep, *prefixes, **changes)
    assert message in str(error.value)


def test_token_counts_are_compared_without_case(make_job):
    with pytest.raises(ValidationError, match=r"the output has Num_Tokens from the input; rename that column"):
        make_job(input__keep=["Num_Tokens"], output__token_counts=True)


def test_advice_works(job_with):
    """The names are swapped, and one is that of a column with text: new names do not affect what the job reads."""
    keep = {"source_label": "Label", "Title2": "title", "text": "lang", "lang": "text", "number": "Score"}
    output = write(job_with(keep, "topic_", "Other_"))
    found, source = read_output(output.location.url), job_with.table
    results = ["topic_label", "topic_score", "Other_label", "Other_score"]
    assert found.schema.names == ["id", *keep, *results]
    for name, column in keep.items():
        assert found[name].equals(source[column]), name
        assert found.schema.field(name).type == source.schema.field(column).type
    assert found["topic_label"].equals(found["Other_label"])
    assert duckdb.sql(f"SELECT Source_Label FROM read_parquet('{output.parts.url}')").fetchall() == [
        (f"given {i}",) for i in range(8)
    ]


def test_commands_read_renamed_columns(job_with, capsys):
    keep = {"source_label": "Label", "code": "lang"}
    output = write(job_with(keep))
    verdict = verify(output)
    assert verdict.verified, verdict.problems
    assert main(["show", output.location.url]) == 0
    printed = capsys.readouterr().out
    assert "source_label" in printed
    assert "given 0" in printed
    assert job_with.table["lang"].to_pylist()[:2] == ["en", "en"]
    assert {row["code"] for row in read_preview(output.location, 2).rows} == {"de", "en"}
    diff = compare_outputs(output.location, output.location)
    assert diff.a.lang_column == "code"
    assert diff.a.results == ["label", "score"]


def test_settings_that_this_version_cannot_read_are_named(job_with, capsys):
    output = write(job_with([]))
    saved = output.read_existing_job()
    del saved["spec"]["input"]["text"]
    (output.bookkeeping / "job.json").put(json.dumps(saved).encode())
    out = output.location.url
    for command in (["show", out], ["verify", out], ["diff", out, out]):
        assert main(command) == 2
        expected = (
            f"xlm: {out}/_xlm/job.json: damaged, or written by another version of this program; restore it, or use"
        )
        assert capsys.readouterr().err.startswith(expected)


def test_a_mapping_resumes_an_output_of_the_equal_list_and_of_no_other(job_with):
    output = Output(prepare_job(job := job_with(["title", "lang"])).output)
    output.begin(prepare_job(job).description, prepare_job(job).plan.shards)
    output.check_fingerprint(prepare_job(job_with({"title": "title", "lang": "lang"})).fingerprint)
    for other in ({"lang": "lang", "title": "title"}, {"title": "lang", "lang": "title"}, ["title"]):
        with pytest.raises(FatalError, match=r"another job \(input\.keep\b"):
            output.check_fingerprint(prepare_job(job_with(other)).fingerprint)
