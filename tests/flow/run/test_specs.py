"""The ready jobs run unchanged on the files of the demo. Other tests run some of them on Ray."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pyarrow.dataset as ds
import pytest
import yaml

from jobs.job_file.load import load_job
from jobs.specs import SPECS, read_spec
from pipelines.run.execute import run
from tests.flow.run.outputs import quiet_console

FOLDER = Path("jobs/specs").resolve()

COLUMNS = {
    "embed": ["id", "lang", "text", "embedding"],
    "classify": ["id", "lang", "topic", "label", "score", "top"],
    "tag": ["id", "lang", "text", "words"],
    "answer": ["id", "lang", "question", "answers", "no_answer_score"],
    "choose": ["id", "lang", "choice", "scores"],
    "score": ["id", "lang", "num_tokens", "log_likelihood", "perplexity"],
    "fill": ["id", "lang", "text", "fills"],
    "nightly": ["id", "lang", "topic", "embedding", "label", "score"],
}


@pytest.fixture(scope="module")
def demo_out(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Change to a folder where the demo was written as by `xlm demo`."""
    folder = tmp_path_factory.mktemp("specs")
    shutil.copytree(demo, folder / "demo-out")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder / "demo-out"


@pytest.mark.parametrize("name", SPECS)
def test_runs_unchanged(name, demo_out, in_process):
    report = run(load_job(FOLDER / f"{name}.yaml"), quiet_console())
    assert report["status"] == "complete"
    table = ds.dataset(demo_out / name / "data").to_table()
    assert table.schema.names == COLUMNS[name]
    assert len(table) == report["totals"]["rows_out"] > 0


def test_all_are_listed_and_packaged():
    assert {path.stem for path in FOLDER.glob("*.yaml")} == set(SPECS)
    for name in SPECS:
        text = read_spec(name)
        assert yaml.safe_load(text)["name"] == name
        assert len(text.splitlines()[0]) <= 100, "the first line is the summary that xlm spec prints"
        assert len(text.splitlines()) <= 30
