"""Jobs over many short rows, in one file and in many small ones, and what `xlm plan` expected them to take.

python -m tests.bench.run files
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tests.bench.corpora import Corpora, Sentence, write_checkpoint
from tests.bench.table import Row
from tests.bench.timing import Times

ROUNDS, NUM_ROWS, ROWS_PER_FILE, MAX_CHARS = 2, 200_000, 10, 200

JOB = """
input: {{path: {folder}/{name}, id: id, text: text, lang: lang}}
model: {{checkpoint: {folder}/checkpoint}}
tasks: [feature-extraction]
tokenizer: {{max_length: 64, zh: rjieba, ja: fugashi}}
output: {{path: {folder}/out-{name}}}
compute: {{address: local}}
"""


def measure(corpora: Corpora) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_checkpoint(folder / "checkpoint", corpora.sentences, emb_dim=64, n_layers=2, n_heads=4)
        num_files = write_corpora(folder, [s for s in corpora.sentences if len(s.text) <= MAX_CHARS])
        expected = float(json.loads(xlm("plan", folder / "one.yaml", "--json"))["estimate"]["total_s"])
        times = Times({"one": [], "many": []})
        for number in range(ROUNDS):
            for corpus, seconds in times.seconds.items():
                began = time.perf_counter()
                xlm("run", folder / f"{corpus}.yaml", "--set", f"output.path={folder}/out-{corpus}-{number}")
                seconds.append(time.perf_counter() - began)
        rows = f"{NUM_ROWS:,} short rows, 2 x 64"
        yield Row(f"{rows}, in one file: seconds", f"{times.median('one'):.0f} s", "40 s")
        yield Row(f"{rows}, in {num_files:,} files: time of one file", f"{times.ratio('many', 'one'):.2f} x", "1.5 x")
        parts = {corpus: len(list((folder / f"out-{corpus}-0" / "data").iterdir())) for corpus in times.seconds}
        yield Row(f"{rows}, in {num_files:,} files: parts", f"{parts['many']}", f"{parts['one']}")
        yield Row(f"{rows}: time that xlm plan expected", f"{expected / times.median('one'):.2f} x", "0.75 to 1.25 x")


def write_corpora(folder: Path, sentences: list[Sentence]) -> int:
    """Write the same rows as one file and as many, with a job for each, and return the number of files."""
    repeated = [sentences[i % len(sentences)] for i in range(NUM_ROWS)]
    columns = {"id": [str(i) for i in range(NUM_ROWS)], "lang": [s.lang for s in repeated]}
    table = pa.table(columns | {"text": [s.text for s in repeated]})
    for name in ("one", "many"):
        (folder / name).mkdir()
        (folder / f"{name}.yaml").write_text(JOB.format(folder=folder, name=name), encoding="utf-8")
    pq.write_table(table, folder / "one" / "all.parquet")
    for first in range(0, NUM_ROWS, ROWS_PER_FILE):
        pq.write_table(table.slice(first, ROWS_PER_FILE), folder / "many" / f"{first:07d}.parquet")
    return NUM_ROWS // ROWS_PER_FILE


def xlm(*arguments: str | Path) -> str:
    done = subprocess.run([sys.executable, "-m", "jobs.cli", *map(str, arguments)], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{arguments}: exit status {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout
