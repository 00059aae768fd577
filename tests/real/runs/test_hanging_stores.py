"""A store that accepts connections and never answers: the run ends, and names the file."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs import cli
from pipelines.storage import retries


@pytest.fixture
def silent_server() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as server:  # the kernel accepts connections; no process reads from them
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize(
    ("url", "endpoint"),
    [("webhdfs://{server}/part.parquet", None), ("gs://bucket/part.parquet", "http://{server}")],
    ids=["fsspec", "pyarrow"],
)
def test_run_ends_if_the_store_of_its_input_never_answers(
    demo: Path, silent_server: str, url: str, endpoint: str | None, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(retries, "_ANSWERS_WITHIN_S", 0.6)
    url = url.format(server=silent_server)
    job = tmp_path / "job.yaml"
    job.write_text(
        f"input: {{path: '{url}', text: text, lang: en}}\nmodel: {{checkpoint: {demo / 'checkpoint'}}}\n"
        f"tasks: [feature-extraction]\noutput: {{path: {tmp_path / 'out'}}}\n"
        + (f"storage: [{{url: 'gs://', endpoint: '{endpoint.format(server=silent_server)}'}}]" if endpoint else "")
    )
    assert cli.main(["run", str(job)]) == 1
    assert capsys.readouterr().err == (
        f"xlm: {url}: the store has not answered for 0.01 min; what is finished is kept, run the same command to "
        "resume\n"
    )
