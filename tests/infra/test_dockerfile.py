"""The Dockerfile of clusters. `make chaos` also installs what it installs in a clean virtual environment."""

import fnmatch
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "infra" / "docker"
TEXT = (FOLDER / "Dockerfile").read_text(encoding="utf-8")
TARGETS = ("cpu", "cuda")


def instructions() -> list[str]:
    joined = re.sub(r"\\\n\s*", "", TEXT)
    return [line for line in joined.splitlines() if line and not line.startswith("#")]


def stages() -> dict[str, list[str]]:
    """Return the instructions of each stage, with those of the stages that it begins with."""
    found: dict[str, list[str]] = {}
    name = ""
    for line in instructions():
        if match := re.fullmatch(r"FROM (\S+) AS (\S+)", line):
            name = match[2]
            found[name] = [*found.get(match[1], [])]
        elif name:
            found[name].append(line)
    return found


def extras() -> str:
    (given,) = set(re.findall(r"ARG EXTRAS=(\S+)", TEXT))
    return given


def test_hadolint_has_no_objections():
    hadolint = Path(sys.executable).with_name("hadolint")
    if not hadolint.exists():
        pytest.skip("hadolint is not installed")
    checked = subprocess.run([hadolint, FOLDER / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stdout) == (0, "")


@pytest.mark.parametrize("target", TARGETS)
def test_image_is_pinned_and_runs_as_a_user(target):
    lines = stages()[target]
    assert re.search(r"^ARG BASE=python:3\.\d+\.\d+-slim-\w+$", TEXT, re.MULTILINE)
    assert lines[-3:] == ["USER 1000", "WORKDIR /home/xlm", 'CMD ["xlm", "--help"]']
    installs = [line for line in lines if "pip install" in line]
    assert len(installs) == 2
    assert "-c constraints.txt" in installs[0]
    assert not re.search(r"https?://", TEXT)


def test_build_has_the_files_that_are_copied_and_no_others():
    patterns = (FOLDER / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    included = {pattern[1:] for pattern in patterns if pattern.startswith("!")}
    copied = {path for line in instructions() if line.startswith("COPY") for path in shlex.split(line)[1:-1]}
    assert included == copied
    assert patterns[1] == "*"
    assert all((ROOT / path).exists() for path in copied)
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["packages"]
    assert {path for path in copied if fnmatch.fnmatch(path, "*[!.]*") and (ROOT / path).is_dir()} == {
        pattern.removesuffix("*") for pattern in packages["find"]["include"]
    }


def test_tags_in_the_documentation_have_the_version():
    tags = re.findall(r"xlm-batch:([\d.]+)-(\w+)", TEXT)
    assert set(tags) == {(version("xlm-batch"), target) for target in TARGETS}


@pytest.mark.slow
def test_packages_install_in_a_clean_environment(tmp_path):
    """The steps of the stages in their order. The first installs the dependencies without the code."""
    source, python = tmp_path / "src", tmp_path / "venv" / "bin" / "python"
    source.mkdir()
    for name in ("pyproject.toml", "constraints.txt", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)

    def run(*command: object) -> str:
        return subprocess.run(command, cwd=source, check=True, capture_output=True, text=True).stdout

    run(sys.executable, "-m", "venv", tmp_path / "venv")
    run(python, "-m", "pip", "install", "--quiet", "-c", "constraints.txt", f".[{extras()}]")
    for package in ("xlm_core", "pipelines", "jobs"):
        shutil.copytree(ROOT / package, source / package, ignore=shutil.ignore_patterns("__pycache__"))
    run(python, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", tmp_path / "wheel", ".")
    (wheel,) = (tmp_path / "wheel").glob("*.whl")
    run(python, "-m", "pip", "install", "--quiet", "--no-deps", "--force-reinstall", wheel)
    assert run(python.with_name("xlm"), "--version").strip() == f"xlm-batch {version('xlm-batch')}"
    run(python, "-m", "pip", "check")
