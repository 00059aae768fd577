"""Whole jobs on Ray: the memory of a corpus and of ten, the cost of a resumed run and of a new wave.

Run as `python -m tests.scale.whole_jobs [--corpora FOLDER] [--memory-of ROWS]`. Results are in RESULTS.md.
"""

import argparse
import io
import multiprocessing
import random
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from tests.bench.corpora import Sentence, read_corpora, write_checkpoint
from tests.scale.process_tree import measure_processes

ROWS, ROWS_PER_SHARD, MAX_CHARS = 40_000, 4_000, 200
SHARDS_PER_WAVE = 10
SCHEMA = pa.schema({"id": pa.string(), "lang": pa.string(), "text": pa.string()})

JOB = """
input: {{path: {folder}/{name}, id: id, text: text, lang: lang}}
model: {{checkpoint: {folder}/checkpoint}}
tasks: [feature-extraction]
tokenizer: {{max_length: 64, zh: rjieba, ja: fugashi}}
output: {{path: {folder}/out-{name}, rows_per_shard: {rows_per_shard}}}
compute: {{address: local}}
"""


class Measured(NamedTuple):
    seconds: float
    all_mb: float
    driver_mb: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpora", type=Path, help="a folder of corpora; by default, the demo's sentences")
    parser.add_argument("--memory-of", type=int, metavar="ROWS", help="measure only this corpus, and ten times as much")
    args = parser.parse_args()
    corpora = read_corpora(args.corpora)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_checkpoint(folder / "checkpoint", corpora.sentences, emb_dim=64, n_layers=2, n_heads=4)
        short = [sentence for sentence in corpora.sentences if len(sentence.text) <= MAX_CHARS]
        num_rows = args.memory_of or ROWS
        print(
            f"{corpora.description}: {num_rows:,} rows in {num_rows // ROWS_PER_SHARD} shards, and ten times as many\n"
        )
        print("| job | seconds | peak memory of all processes | of the driver |\n|---|--:|--:|--:|")
        for corpus, rows in {"once": num_rows, "ten": 10 * num_rows}.items():
            write_corpus(folder, corpus, short, rows)
        measure(folder, "once", f"{num_rows:,} rows")
        whole = measure(folder, "ten", f"{10 * num_rows:,} rows")
        if not args.memory_of:
            measure_restarts(folder, short, whole)


def measure_restarts(folder: Path, short: list[Sentence], whole: Measured) -> None:
    """Measure waves, and the resumption of the whole job."""
    for corpus, num_rows in {"shard": ROWS_PER_SHARD, "waves": 10 * ROWS}.items():
        write_corpus(folder, corpus, short, num_rows)
    start = measure(folder, "shard", "one shard")
    waves = measure(folder, "waves", f"{10 * ROWS:,} rows in waves of {SHARDS_PER_WAVE} shards", SHARDS_PER_WAVE)
    next((folder / "out-ten" / "data").iterdir()).unlink()
    resumed = measure(folder, "ten", "resumed with one shard left")
    share = (resumed.seconds - start.seconds) / whole.seconds
    per_wave = (waves.seconds - whole.seconds) / (10 * ROWS / ROWS_PER_SHARD / SHARDS_PER_WAVE - 1)
    print(f"\nResuming takes {share:.1%} of the job beyond a job of one shard. A new wave takes {per_wave:.2f} s.")


def write_corpus(folder: Path, name: str, sentences: list[Sentence], num_rows: int) -> None:
    """Write sentences as a corpus. Where they repeat, a word of each is a new one."""
    (folder / name).mkdir()
    with pq.ParquetWriter(folder / name / "all.parquet", SCHEMA) as file:
        for first in range(0, num_rows, ROWS):
            numbers = range(first, min(first + ROWS, num_rows))
            langs, texts = zip(
                *(_vary(sentences[i % len(sentences)], i // len(sentences)) for i in numbers), strict=True
            )
            file.write_table(pa.table([pa.array(map(str, numbers)), pa.array(langs), pa.array(texts)], SCHEMA))
    job = JOB.format(folder=folder, name=name, rows_per_shard=ROWS_PER_SHARD)
    (folder / f"{name}.yaml").write_text(job, encoding="utf-8")


def _vary(sentence: Sentence, repetition: int) -> Sentence:
    words = sentence.text.split(" ")
    longest = max(range(len(words)), key=lambda i: len(words[i]))
    if repetition:
        words[longest] = "".join(
            random.Random(f"{repetition} {sentence.text}").sample(words[longest], len(words[longest]))
        )
    return Sentence(sentence.lang, " ".join(words))


def measure(folder: Path, name: str, title: str, shards_per_wave: int | None = None) -> Measured:
    """Run a job in a process of its own, and print what it took."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        measured = process.submit(run_job, folder / f"{name}.yaml", shards_per_wave).result()
    print(
        f"| {title} | {measured.seconds:.1f} | {measured.all_mb:,.0f} MB | {measured.driver_mb:,.0f} MB |", flush=True
    )
    return measured


def run_job(file: Path, shards_per_wave: int | None) -> Measured:
    from rich.console import Console

    from jobs.job_file.load import load_job
    from pipelines.run import execute

    execute.WAVE_SHARDS = shards_per_wave or execute.WAVE_SHARDS
    start = time.perf_counter()
    with measure_processes() as tree:
        report = execute.run(load_job(file, []), Console(file=io.StringIO()))
    assert report["status"] == "complete", report["status"]
    return Measured(time.perf_counter() - start, tree.all_mb, tree.driver_mb)


if __name__ == "__main__":
    main()
