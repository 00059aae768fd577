"""Hive partitions: directories such as `lang=de` are columns."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from jobs.cli import main
from pipelines.corpus.cut_shards import ShardLimits
from pipelines.corpus.plan import Plan
from pipelines.corpus.planned_shard import planned_shards
from pipelines.errors import FatalError
from pipelines.job import InputSettings
from tests.chaos.bad_input.trial_job import TrialJob
from tests.flow.in_process import read_output, without_ray
from tests.plans import make_plan

NULL = "__HIVE_DEFAULT_PARTITION__"


def write(file: Path, **columns: list[Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"text": ["some text", "more text"]} | columns), file)


def plan_of(path: str | Path | list[str], **settings: Any) -> Plan:
    spec = {"path": path if isinstance(path, list) else str(path), "text": "text", "lang": "lang"} | settings
    return make_plan(InputSettings.model_validate(spec), ShardLimits(10), [])


def constants_of(plan: Plan) -> list[dict[str, Any]]:
    return [
        {n: value.as_py() for n, value in shard.constants.items()}
        for s in planned_shards(plan.shards)
        for shard in s.members
    ]


def files_of(plan: Plan, folder: Path) -> list[str]:
    return [file.removeprefix(f"{folder}/") for file in plan.corpus.row_groups["file"].to_pylist()]


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    for directory in ("year=2020/lang=de", "year=2020/lang=en", "year=2021/lang=de", f"year=2021/lang={NULL}"):
        write(tmp_path / "lake" / directory / "part-0.parquet", id=[f"{directory} {i}" for i in range(2)])
    return tmp_path / "lake"


@pytest.fixture
def job(lake: Path, demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrialJob:
    """Return a job that uses partitions in every role."""
    without_ray(monkeypatch)
    job = TrialJob(tmp_path / "job", demo)
    job.settings["input"] = {"path": str(lake), "id": "id", "text": "text", "lang": "lang", "keep": ["year"]}
    job.set("policy.max_rejected", 1.0)
    job.job_file.write_text(job.to_yaml())
    return job


def rows_of(job: TrialJob) -> dict[str, Any]:
    rows = read_output(str(job.out))
    return dict(zip(rows["id"].to_pylist(), rows["year"].to_pylist(), strict=True))


def test_partitions_are_columns_in_every_stage(job, lake, capsys):
    """Check, run, resume with a new partition, verify and show. A null language is rejected."""
    assert main(["check", str(job.job_file)]) == 0
    assert main(["run", str(job.job_file)]) == 0
    expected = ds.dataset(lake, partitioning="hive").to_table(filter=ds.field("lang").is_valid())
    assert rows_of(job) == dict(zip(expected["id"].to_pylist(), expected["year"].to_pylist(), strict=True))
    assert read_output(str(job.out)).schema.field("year").type == pa.int32()
    assert main(["verify", str(job.out)]) == 0
    assert main(["show", str(job.out)]) == 0
    assert "year" in capsys.readouterr().out

    parts = {file: file.stat().st_mtime_ns for file in job.out.rglob("part-*") if "_xlm" not in str(file)}
    write(lake / "year=2022/lang=de/part-0.parquet", id=["new 0", "new 1"])
    assert main(["run", str(job.job_file)]) == 0
    assert rows_of(job)["new 0"] == 2022
    assert all(file.stat().st_mtime_ns == time for file, time in parts.items())
    assert main(["verify", str(job.out)]) == 0


def test_partition_that_changes_the_type_of_the_others_is_refused(job, lake, capsys):
    assert main(["run", str(job.job_file)]) == 0
    write(lake / "year=unknown/lang=de/part-0.parquet", id=["u 0", "u 1"])
    assert main(["run", str(job.job_file)]) == 2
    assert 'partitions.year: "int32" in the output, "string" in this job' in " ".join(capsys.readouterr().err.split())


def test_types_are_those_of_arrow(tmp_path):
    for i, directory in enumerate(
        (
            f"year=2020/month=01/day={NULL}/n=5/big=3000000000/name=a%20b/none={NULL}",
            f"year=2021/month=1/day=7/n=x/big=1/name=%C3%A9/none={NULL}",
            "year=-3/month=12/day=31/n=/big=2/name=1.5/none=" + NULL,
        )
    ):
        write(tmp_path / directory / f"{i}.parquet", lang=["en", "en"], number=[i, i])
    names = ["year", "month", "day", "n", "big", "name"]
    plan = plan_of(tmp_path, keep=[*names, "none"])
    types = {name: str(plan.schema.field(name).type) for name in names}
    assert types == {"year": "int32", "month": "int32", "day": "int32"} | dict.fromkeys(["n", "big", "name"], "string")
    assert plan.schema.field("none").type == pa.string()  # Arrow refuses a partition that is always null
    values = constants_of(plan)
    assert [value["name"] for value in values] == ["1.5", "a b", "é"]
    assert [value["month"] for value in values] == [12, 1, 1]
    assert [value["day"] for value in values] == [31, None, 7]


@pytest.mark.parametrize(
    ("condition", "pruned"),
    [
        ("year == 2020", ["year=2021/lang=de", f"year=2021/lang={NULL}"]),
        ('year >= 2021 and lang == "de"', ["year=2020/lang=de", "year=2020/lang=en", f"year=2021/lang={NULL}"]),
        ('id != "x" and lang in ["de"]', ["year=2020/lang=en", f"year=2021/lang={NULL}"]),
        ("lang is None", ["year=2020/lang=de", "year=2020/lang=en", "year=2021/lang=de"]),
        ('(year == 2020 or lang == "de") and lang is not None', [f"year=2021/lang={NULL}"]),
        ('year == 2020 or id != "x"', []),
        ('not (year == 2020 and lang == "de")', ["year=2020/lang=de"]),
    ],
)
def test_filter_prunes_files_before_their_footers_are_read(lake, condition, pruned):
    """Files that the filter excludes are not Parquet in this test, so reading a footer fails."""
    everything = files_of(plan_of(lake), lake)
    for directory in pruned:
        (lake / directory / "part-0.parquet").write_bytes(b"not Parquet")
    plan = plan_of(lake, filter=condition)
    assert files_of(plan, lake) == [file for file in everything if file.removesuffix("/part-0.parquet") not in pruned]
    files = f"{len(pruned)} file{'s' if pruned[1:] else ''}"
    assert plan.corpus.notes == ((f"not read: {files} whose partition does not match input.filter",) if pruned else ())


def test_filter_that_matches_no_partition(lake):
    with pytest.raises(FatalError, match=r"matches no partition of input.path, whose files are partitioned by lang, y"):
        plan_of(lake, filter="year == 1999")
    with pytest.raises(FatalError, match="year is int32; write the number without quotes"):
        plan_of(lake, filter='year == "2020"')


def test_partitions_in_the_given_path_itself(lake):
    """A job over one partition has the same columns as one over all of them."""
    for path in (lake / "year=2020/lang=de", lake / "year=2020/lang=de/part-0.parquet", f"{lake}/year=2020/*=de/*"):
        plan = plan_of(path, keep=["year"])
        assert constants_of(plan) == [{"year": 2020, "lang": "de"}]
    # there, a column of the file has precedence, as for Arrow and Spark, which ignore the path above
    write(lake / "year=2020/lang=de/part-0.parquet", lang=["en", "fr"])
    plan = plan_of(lake / "year=2020/lang=de")
    assert "constants" not in plan.shards.column_names


def test_partition_in_the_given_path_and_below_it(lake):
    """The innermost directory counts. Below the given path, a column that occurs twice is refused."""
    copy = lake.rename(lake.parent / "lang=all")
    found = constants_of(plan_of(copy, filter='lang != "en"', keep=["year"]))
    assert found == [{"year": 2020, "lang": "de"}, {"year": 2021, "lang": "de"}]
    with pytest.raises(FatalError, match=r"lang=all/year=2020/lang=.*: several directories of input.path are the"):
        plan_of(copy.parent)


def test_file_of_several_patterns_is_read_once(lake):
    """Its partitions are those below the shortest path. The filter excludes partitions also where patterns overlap."""
    both = [f"{lake}/year=2021/lang=de/part-0.parquet", str(lake), f"{lake}/year=2020/*/*"]
    plan = plan_of(both, keep=["year"])
    assert files_of(plan, lake) == files_of(plan_of(lake), lake)
    assert constants_of(plan) == constants_of(plan_of(lake, keep=["year"]))
    plan = plan_of(both, filter="year == 2021", keep=["year"])
    assert [constants["year"] for constants in constants_of(plan)] == [2021, 2021]


def test_column_in_the_file_and_in_its_path(lake):
    """The file's column is read, if its statistics show that the path says the same."""
    file = lake / "year=2020/lang=de/part-0.parquet"
    write(file, lang=["de", "de"], year=[2020, 2020], id=["a", "b"])
    write(lake / f"year=2021/lang={NULL}/part-0.parquet", lang=pa.nulls(2, pa.string()), id=["c", "d"])
    plan = plan_of(lake)
    assert plan.num_rows == 8
    assert plan.schema.field("lang").type == pa.large_string()
    assert [sorted(constants) for constants in constants_of(plan)] == [[], ["lang"], [], ["lang"]]
    for lang in (["de", "en"], ["en", "en"], ["de", None]):
        write(file, lang=lang)
        with pytest.raises(FatalError, match="column lang is in the file and also a directory of its path, and the fi"):
            plan_of(lake)
    pq.write_table(pa.table({"text": ["a"], "lang": ["de"]}), file, write_statistics=False)
    with pytest.raises(FatalError, match="do not show that both have the same value"):
        plan_of(lake)


def test_file_without_the_partition(lake):
    write(lake / "part-1.parquet", id=["x", "y"])
    with pytest.raises(FatalError, match=r"lake/part-1.parquet: no column lang; it has text, id"):
        plan_of(lake)
    assert plan_of(lake, lang={"fixed": "de"}).num_rows == 10


def test_partition_as_id(job, lake, capsys):
    job.set("input.id", "year")
    job.set("input.keep", [])
    job.job_file.write_text(job.to_yaml())
    assert main(["run", str(job.job_file)]) == 2
    assert "input.id year: 6 rows" in capsys.readouterr().err
