"""Every command and every block of code in the READMEs runs as printed, or is checked as far as it can be.

A block that needs more than this project, such as a cluster, begins with a comment that says what: `# needs: docker`.
Its `xlm` commands are parsed, and the files that it names must exist.
"""

import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from jobs.specs import SPECS
from pipelines.job.job import Job
from pipelines.training_job import TrainingJob, VocabularyJob
from tests.docs.markdown import READMES, ROOT, Block, code_blocks, inline_commands, prose, read
from tests.docs.run_commands import check_arguments, run_command, run_in_shell, unknown_options
from tests.flow.in_process import without_ray

LANGUAGES = {"bash", "python", "yaml", "text"}


@pytest.fixture(scope="module")
def clone(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Change to a folder with the files of the repository, in which `xlm demo` has written its files."""
    folder = tmp_path_factory.mktemp("clone")
    for path in ROOT.iterdir():
        if not path.name.startswith(".") and path.name != "demo-out":
            (folder / path.name).symlink_to(path)
    shutil.copytree(demo, folder / "demo-out")
    (folder / "demo-out" / "job.yaml").unlink()  # names the folder in which it was written
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder


def blocks(*, are_run: bool) -> list[object]:
    found = [(readme, block) for readme in READMES for block in code_blocks(readme) if block.is_run == are_run]
    return [pytest.param(block, id=f"{readme}:{block.line}") for readme, block in found]


@pytest.mark.long
@pytest.mark.parametrize("block", blocks(are_run=True))
def test_block_runs(block: Block, clone: Path, monkeypatch: pytest.MonkeyPatch):
    without_ray(monkeypatch)
    if block.language == "python":
        exec(compile(block.code, f"line {block.line}", "exec"), {"__name__": "__main__"})
        return
    for command in block.commands:
        run_command(command)


@pytest.mark.slow
@pytest.mark.parametrize("readme", READMES)
def test_document_runs_in_a_shell(readme: str, clone: Path):
    for block in code_blocks(readme):
        if block.is_run:
            run_in_shell(block.code if block.language == "bash" else f"python -c {shlex.quote(block.code)}")


@pytest.mark.parametrize("block", blocks(are_run=False))
def test_block_that_is_not_run_is_valid(block: Block):
    if block.language == "bash":
        for command in block.commands:
            check_arguments(command)
            assert [path for path in named_files(command) if not (ROOT / path).exists()] == []
    elif block.language == "python":
        compile(block.code, f"line {block.line}", "exec")
    elif block.language == "yaml":
        check_yaml(block.code)


def named_files(command: str) -> list[str]:
    """Return the files of the repository that a command names."""
    return re.findall(r"(?<![\w/])((?:infra|jobs|examples|tests)/[\w./-]*\w)", command)


def check_yaml(code: str) -> None:
    """Check a job file, or some of its sections. Documents of other systems only have to be YAML."""
    values = yaml.safe_load(code)
    if isinstance(values, dict) and "objectives" in values:
        TrainingJob.model_validate(values)
    elif isinstance(values, dict) and "vocabulary" in values:
        VocabularyJob.model_validate(values)
    elif isinstance(values, dict) and values.keys() <= Job.model_fields.keys():
        job = yaml.safe_load((ROOT / "jobs" / "specs" / "classify.yaml").read_text(encoding="utf-8"))
        Job.model_validate(job | values)


@pytest.mark.parametrize("readme", READMES)
def test_code_is_in_blocks_with_a_language(readme: str):
    """No code is left out of the tests above."""
    assert {block.language for block in code_blocks(readme)} <= LANGUAGES
    assert [line for line in prose(readme).splitlines() if line.startswith(("    ", "\t"))] == []


@pytest.mark.parametrize("readme", READMES)
def test_commands_in_prose_have_their_options(readme: str):
    assert {command: found for command in inline_commands(readme) if (found := unknown_options(command))} == {}


def test_make_targets_exist():
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = {name for readme in READMES for name in re.findall(r"\bmake ([a-z-]+)`", prose(readme))}
    commands = [line for readme in READMES for block in code_blocks(readme) for line in block.commands]
    named |= {line.split()[1] for line in commands if line.startswith("make ")}
    assert named - targets == set()


def test_every_ready_job_and_every_example_is_named():
    run = {word for readme in READMES for block in code_blocks(readme) if block.is_run for word in block.code.split()}
    assert {f"examples/{path.name}" for path in (ROOT / "examples").glob("*.py")} - run == set()
    assert set(SPECS) - set(re.findall(r"\w+", read("README.md"))) == set()


def test_readme_is_short():
    assert len(read("README.md").splitlines()) <= 200
