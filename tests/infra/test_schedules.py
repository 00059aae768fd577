"""The schedules of infra/schedule: cron, systemd and Airflow.

With XLM_AIRFLOW_PYTHON, the interpreter of an environment with Airflow, the DAG is also parsed by Airflow itself.
"""

import ast
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import types
from pathlib import Path

import pytest

from jobs.exit_status import ExitStatus
from jobs.submission.kuberay import Schedule

FOLDER = Path(__file__).parents[2] / "infra" / "schedule"
DAG = FOLDER / "airflow_dag.py"
NO_RETRY = {ExitStatus.INVALID, ExitStatus.INCOMPLETE, ExitStatus.LOCKED}

LIST_DAGS = """
import json, sys
from airflow.dag_processing.dagbag import DagBag
bag = DagBag(sys.argv[1])
dags = {name: [dag.max_active_runs, dag.catchup, dag.task_ids] for name, dag in bag.dags.items()}
print(json.dumps([bag.import_errors, dags]))
"""


def read_unit(name: str) -> dict[str, str]:
    lines = (FOLDER / name).read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))


def test_crontab_runs_a_job_every_night():
    lines = (FOLDER / "crontab").read_text(encoding="utf-8").splitlines()
    (line,) = [line for line in lines if re.match(r"[\d*]", line)]
    *when, command = line.split(maxsplit=5)
    assert Schedule(" ".join(when)).shortest_gap_s == 24 * 3600
    assert command.startswith("xlm run ")
    assert "%" not in command  # a line break to cron


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_accepts_the_units(tmp_path):
    program = read_unit("xlm-nightly.service")["ExecStart"].split()[0]
    for name in ("xlm-nightly.service", "xlm-nightly.timer"):
        text = (FOLDER / name).read_text(encoding="utf-8")
        (tmp_path / name).write_text(text.replace(program, sys.executable), encoding="utf-8")
    units = [tmp_path / "xlm-nightly.service", tmp_path / "xlm-nightly.timer"]
    checked = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True, check=False)
    own = [line for line in checked.stderr.splitlines() if "xlm-nightly" in line]
    assert (checked.returncode, own) == (0, [])


def test_systemd_retries_what_a_retry_may_help():
    unit = read_unit("xlm-nightly.service")
    assert set(map(int, unit["RestartPreventExitStatus"].split())) == NO_RETRY
    assert float(unit["TimeoutStopSec"]) > 25 + 30  # policy.stop_grace_s, and the time to end after it


def test_dag_fails_for_good_where_a_retry_does_not_help(tmp_path, monkeypatch):
    class FailWithoutRetryError(Exception):
        pass

    tasks, settings = [], {}

    def dag(**given):
        settings.update(given)
        return lambda function: function

    def task(**given):
        settings.update(given)
        return lambda function: lambda: tasks.append(function)

    for name, members in {
        "airflow": {},
        "airflow.sdk": {"dag": dag, "task": task},
        "airflow.sdk.exceptions": {"AirflowFailException": FailWithoutRetryError},
        "pendulum": {"datetime": lambda *_, tz: tz},
    }.items():
        module = types.ModuleType(name)
        vars(module).update(members)
        monkeypatch.setitem(sys.modules, name, module)
    runpy.run_path(str(DAG))
    (annotate,) = tasks
    assert settings["max_active_runs"] == 1
    assert settings["catchup"] is False
    assert Schedule(settings["schedule"], settings["start_date"]).shortest_gap_s == 24 * 3600

    program = tmp_path / "xlm"
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    for status in ExitStatus:
        program.write_text(f'#!/bin/sh\n[ "$*" = "submit /etc/xlm/nightly.yaml" ] && exit {status:d}\n')
        program.chmod(0o755)
        if status == ExitStatus.COMPLETE:
            annotate()
        else:
            with pytest.raises(FailWithoutRetryError if status in NO_RETRY else RuntimeError, match=f"{status:d}"):
                annotate()


def test_dag_imports_only_what_airflow_has():
    tree = ast.parse(DAG.read_text(encoding="utf-8"))
    imports = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert imports == {"datetime", "airflow.sdk", "airflow.sdk.exceptions"}


def test_airflow_parses_the_dag(tmp_path):
    python = os.environ.get("XLM_AIRFLOW_PYTHON")
    if python is None:
        pytest.skip("XLM_AIRFLOW_PYTHON is not set")
    shutil.copy(DAG, tmp_path)
    env = {**os.environ, "AIRFLOW_HOME": str(tmp_path / "home"), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
    env.pop("PYTHONPATH", None)
    command = [python, "-c", LIST_DAGS, str(tmp_path)]
    listed = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    errors, dags = json.loads(listed.stdout.splitlines()[-1])
    assert errors == {}
    assert dags == {"xlm_nightly": [1, False, ["annotate"]]}
    assert "deprecated" not in listed.stdout + listed.stderr
