"""`xlm verify` prints what was checked, and reports an output that cannot be read as one clear error."""

import re
import shutil
from io import StringIO

import pytest
from rich.console import Console

from jobs.commands.output.verify import verify_output
from pipelines.errors import FatalError
from tests.pipelines.verify.output_copy import truncate


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lambda out: shutil.rmtree(out.path), "no such directory; name the output.path of a job"),
        (lambda out: shutil.rmtree(out.path / "_xlm"), "not the output of a job .it has no _xlm/job.json"),
        (lambda out: truncate(out.path / "_xlm" / "job.json", 99), "job.json: damaged"),
        (lambda out: out.edit_json("job.json", lambda job: job["spec"].pop("tasks")), "job.json: damaged, or written"),
        (lambda out: out.edit_json("job.json", lambda job: job.pop("schema")), "job.json: damaged, or written"),
        (lambda out: out.edit_json("job.json", lambda job: job.update(metadata=[])), "job.json: damaged, or written"),
        (lambda out: truncate(out.path / "_xlm" / "plan.parquet", 99), "plan.parquet: damaged"),
        (lambda out: (out.path / "_xlm" / "plan.parquet").unlink(), "plan.parquet: missing"),
        (lambda out: truncate(next((out.path / "_xlm" / "ledger").iterdir()), 99), "a damaged ledger file"),
    ],
)
def test_output_that_cannot_be_checked_raises_one_clear_error(texts, damage, expected):
    damage(texts)
    with pytest.raises(FatalError, match=expected) as error:
        texts.verify()
    assert "\n" not in str(error.value)


def test_console_shows_counts_and_verdict_and_the_first_problems(texts):
    def run() -> tuple[bool, str]:
        console = Console(file=StringIO(), width=500)
        verified = verify_output(str(texts.path), console)
        return verified, console.file.getvalue()

    verified, text = run()
    assert verified
    assert re.search(r"shards +6 of 6 +\nrows +26 out, 3 rejected *\n", text)
    assert text.splitlines()[-1].startswith(f"verified: {texts.path} contains every planned row once")
    texts.output.ledger.replace(texts.records[:-1])
    (texts.path / "_SUCCESS").unlink()
    assert "incomplete: " in run()[1].splitlines()[-1]
    assert "1 shard still to do" in run()[1].splitlines()[-1]
    for number in range(30):
        (texts.path / "data" / f"[red]{number}").touch()
    verified, text = run()
    assert not verified
    assert text.count("problem: ") == 20
    assert "/[red]0: not recorded" in text
    assert text.splitlines()[-2:] == ["… and 10 more", f"not verified: {texts.path} has 30 problems"]
