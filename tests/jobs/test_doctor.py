"""`xlm doctor`: what works here, and commands that install the rest."""

import importlib.metadata
import json
import re
import shutil
import sys
import tomllib
from pathlib import Path

import pytest

from jobs.cli import main
from jobs.doctor import install_all
from jobs.doctor.finding import Finding, find_out
from jobs.doctor.segmenters import try_segmenters
from jobs.doctor.stores import try_checkpoint_sources, try_ray, try_tables
from jobs.doctor.target import try_checkpoint, try_job
from jobs.job_file import load_job
from tests.kytea_model import write_kytea_model

OPTIONAL = {
    "fugashi": ("fugashi", "fugashi"),
    "rjieba": ("rjieba", "rjieba"),
    "Mykytea": ("KyTea", "kytea"),
    "deltalake": ("Delta Lake", "delta"),
    "pyiceberg": ("Iceberg", "iceberg"),
    "huggingface_hub": ("hf://", "hub"),
    "h5py": ("tf_model.h5", "tensorflow-checkpoints"),
    "aiohttp": ("xlm submit", "cluster"),
}
EXTRAS = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]


def by_name(findings) -> dict[str, Finding]:
    return {finding.name: finding for finding in findings}


def test_text_and_json_agree_about_a_job(demo, capsys):
    assert main(["doctor", str(demo / "small.yaml"), "--json"]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    document = json.loads(printed.out)
    found = {(finding["section"], finding["name"]): finding for finding in document["findings"]}
    assert document["works"] is True
    assert document["versions"]["xlm-batch"] == importlib.metadata.version("xlm-batch")
    for name in ("Moses", "jieba", "PyThaiNLP", "fugashi"):
        assert found["segmenters", name]["status"] == "works"
    assert found["job", "languages"]["detail"].startswith("18 of 18: ar, ")
    assert found["precisions", "float32"]["needed"]
    assert main(["doctor", str(demo / "small.yaml")]) == 0
    text = capsys.readouterr().out
    sections = [line for line in text.splitlines() if re.fullmatch(r"[a-z]+", line)]
    assert sections == list(dict.fromkeys(finding["section"] for finding in document["findings"]))
    assert [line.split("  ")[1].strip() for line in text.splitlines() if re.match("[✓–✗]", line)] == [
        finding["name"] for finding in document["findings"]
    ]
    works = sum(finding["status"] == "works" for finding in document["findings"])
    assert f"all that is needed works; {works} parts of {len(found)} in total\n" in text


@pytest.mark.parametrize("module", OPTIONAL)
def test_missing_package_has_the_command_that_installs_it(module, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)  # as if it were not installed
    name, extra = OPTIONAL[module]
    groups = (lambda: try_segmenters(None), try_tables, try_checkpoint_sources, try_ray)
    finding = next(finding for group in groups for finding in group() if finding.name == name)
    assert (finding.status, finding.needed) == ("missing", False)
    assert finding.next_step == f"pip install 'xlm-batch[{extra}]'"
    assert extra in EXTRAS


def test_what_is_missing_is_installed_by_one_command():
    findings = [
        Finding("tables", "Iceberg", "missing", "", "pip install 'xlm-batch[iceberg]'"),
        Finding("stores", "sftp://", "missing", "", "pip install paramiko"),
        Finding("tables", "Delta Lake", "missing", "", "pip install 'xlm-batch[delta]'"),
    ]
    assert install_all(findings) == "pip install 'xlm-batch[delta,iceberg]'"
    assert install_all(findings[1:2]) is None


def test_kytea_needs_a_model(tmp_path):
    finding = by_name(try_segmenters(None))["KyTea"]
    assert (finding.status, finding.needed) == ("fails", False)
    assert "set tokenizer.kytea_model to a model file" in finding.next_step
    write_kytea_model(tmp_path / "model.bin")
    assert by_name(try_segmenters(str(tmp_path / "model.bin")))["KyTea"].status == "works"


def test_library_that_is_broken_is_not_called_missing():
    def attempt() -> str:
        raise ImportError("libmecab.so.2: cannot open shared object file")

    finding = find_out("segmenters", "fugashi", attempt, extra="fugashi")
    assert (finding.status, finding.detail) == ("fails", "libmecab.so.2: cannot open shared object file")


def test_languages_of_a_checkpoint_depend_on_the_segmenters(checkpoint, demo):
    findings = by_name(try_checkpoint(str(checkpoint), print))
    assert findings["languages"].detail.startswith("17 of 18: ")
    assert "KyTea" in findings["language ja"].detail
    assert not findings["language ja"].needed  # the corpus may have no Japanese rows
    job = load_job(demo / "small.yaml", ["input.lang={fixed: ja}", "tokenizer.ja=kytea"])
    assert by_name(try_job(job, print))["language ja"].needed


def test_needed_part_that_does_not_work_has_exit_status_2(demo, tmp_path, capsys):
    shutil.copytree(demo / "checkpoint", tmp_path / "checkpoint")
    (tmp_path / "checkpoint" / "config.json").write_text("{", encoding="utf-8")
    assert main(["doctor", str(tmp_path / "checkpoint")]) == 2
    printed = capsys.readouterr().out
    assert "\ndoes not work, but is needed: job checkpoint\n" in printed
    assert main(["doctor", str(tmp_path / "job.yaml")]) == 2
    assert capsys.readouterr().err.startswith(f"xlm: {tmp_path}/job.yaml: cannot be read")
