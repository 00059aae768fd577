"""Start-up of the commands relative to that of Ray, and whole jobs relative to a plain loop over the same model.

python -m tests.bench.run job
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tests.bench.corpora import Corpora, Sentence, write_checkpoint
from tests.bench.table import Row
from tests.bench.timing import Times, time_alternately

ROUNDS, SENTENCES, ROWS_PER_SHARD, MAX_TOKENS, THREADS = 2, 8_000, 1_000, 4_096, os.cpu_count() or 1
STARTS, SMALL_SENTENCES = 3, 64

# What a program does that starts Ray without this project.
START_RAY = f"import ray; ray.init(address='local', num_cpus={THREADS}, log_to_driver=False); ray.shutdown()"

LOOP = """
import sys
import numpy as np, pyarrow as pa, pyarrow.parquet as pq, torch
from xlm_core import PackedBatch, POOLINGS, SequenceClassificationHead, XLMModel, XLMTokenizer, plan_batches

folder, rows, threads, max_tokens = sys.argv[1], *map(int, sys.argv[2:])
torch.set_num_threads(threads)
tokenizer = XLMTokenizer.from_pretrained(f"{folder}/checkpoint", zh="rjieba", ja="fugashi")
model = XLMModel.from_pretrained(f"{folder}/checkpoint").eval()
head = SequenceClassificationHead.from_pretrained(f"{folder}/head")
for number, part in enumerate(pq.ParquetFile(f"{folder}/corpus.parquet").iter_batches(rows)):
    langs = part["lang"].to_pylist()
    encoded = tokenizer.encode_batch(part["text"].to_pylist(), langs, max_length=512)
    lang_ids = np.array([tokenizer.lang2id[lang] for lang in langs], np.int32)
    vectors = np.empty((len(langs), model.config.emb_dim), np.float32)
    scores = np.empty((len(langs), head.config.num_labels), np.float32)
    with torch.inference_mode():
        for index in plan_batches(np.diff(encoded.cu_seqlens), max_tokens):
            batch = PackedBatch.from_ragged(encoded.input_ids, encoded.cu_seqlens, lang_ids, index)
            hidden = model.forward_packed(batch)
            vectors[index] = torch.nn.functional.normalize(POOLINGS["mean"](hidden, batch.cu_seqlens), dim=1)
            scores[index] = head.forward_packed(hidden, batch.cu_seqlens).softmax(-1)
    labels = scores.argmax(1)
    table = {"id": part["id"], "embedding": pa.FixedSizeListArray.from_arrays(vectors.reshape(-1), vectors.shape[1])}
    pq.write_table(pa.table(table | {"label": labels, "score": scores.max(1)}), f"{folder}/loop-{number}.parquet")
"""


def measure(corpora: Corpora) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_job(folder / "small", corpora.sentences[:SMALL_SENTENCES], emb_dim=64, n_layers=2, n_heads=4)
        times = time_starts(folder / "small")
        start = "; relative to a program that only starts and stops Ray"
        yield Row(f"xlm check, small checkpoint{start}", f"{times.ratio('check', 'ray'):.2f} x", "0.3 x")
        yield Row(f"from xlm run to the model's first shard{start}", f"{times.ratio('run', 'ray'):.2f} x", "1.1 x")
        write_job(folder / "large", corpora.sentences[-SENTENCES:], emb_dim=512, n_layers=6, n_heads=8)
        times = time_jobs(folder / "large")
        sentences = f"{min(SENTENCES, len(corpora.sentences)):,} sentences, 6 x 512"
        speed = f"{times.ratio('loop', 'job'):.2f} x"
        yield Row(f"whole job, two tasks, {sentences}, {THREADS} cores: speed of a plain loop", speed, "0.90 x")


def write_job(folder: Path, sentences: list[Sentence], **shape: int) -> None:
    """Write a corpus, a checkpoint, a head and a job with two tasks."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from xlm_core import SequenceClassificationHead, XLMConfig

    checkpoint = write_checkpoint(folder / "checkpoint", sentences, **shape)
    config = XLMConfig.from_pretrained(checkpoint).to_dict() | {"id2label": {str(i): f"label {i}" for i in range(8)}}
    SequenceClassificationHead(XLMConfig.from_dict(config)).save_pretrained(folder / "head")
    columns = {
        "id": np.arange(len(sentences)),
        "lang": [s.lang for s in sentences],
        "text": [s.text for s in sentences],
    }
    pq.write_table(pa.table(columns), folder / "corpus.parquet")
    (folder / "job.yaml").write_text(f"""
input: {{path: {folder}/corpus.parquet, id: id, text: text, lang: lang}}
model: {{checkpoint: {folder}/checkpoint}}
tasks:
  - feature-extraction: {{pooling: mean, normalize: true}}
  - text-classification: {{head: {folder}/head}}
tokenizer: {{max_length: 512, zh: rjieba, ja: fugashi}}
batch: {{max_tokens: {MAX_TOKENS}}}
output: {{path: {folder}/out, rows_per_shard: {ROWS_PER_SHARD}}}
""")


def time_starts(folder: Path) -> Times:
    times = Times({name: [] for name in ("ray", "check", "run")})
    for number in range(STARTS + 1):
        runs = {
            "ray": time_program("-c", START_RAY),
            "check": time_program("-m", "jobs.cli", "check", folder / "job.yaml"),
        }
        runs["run"] = time_to_first_shard(folder, f"out-{number}")
        if number:
            for name, seconds in runs.items():
                times.seconds[name].append(seconds)
    return times


def time_program(*arguments: str | Path) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, *map(str, arguments)], check=True, capture_output=True)
    return time.perf_counter() - began


def time_to_first_shard(folder: Path, output: str) -> float:
    """Return the seconds from the start of the command until the model computes its first shard.

    Ray's log folder has a file for each shard that a stage works on.
    """
    began = time.perf_counter()
    run = subprocess.Popen(
        [*RUN, folder / "job.yaml", "--set", f"output.path={folder / output}"], stdout=subprocess.PIPE
    )
    while not any(Path("/tmp").glob(f"xlm-ray-{run.pid}-*/session_latest/logs/xlm-stack-infer-*")):
        if run.poll() is not None:
            raise SystemExit("the run ended before a look at its first shard")
        time.sleep(0.002)
    seconds = time.perf_counter() - began
    run.communicate()
    return seconds


RUN = [sys.executable, "-m", "jobs.cli", "run"]


def time_jobs(folder: Path) -> Times:
    number = iter(range(100))

    def job() -> None:
        subprocess.run([*RUN, folder / "job.yaml", "--set", f"output.path={folder}/out-{next(number)}"], check=True)

    def loop() -> None:
        subprocess.run(
            [sys.executable, "-c", LOOP, folder, *map(str, (ROWS_PER_SHARD, THREADS, MAX_TOKENS))], check=True
        )

    return time_alternately({"job": job, "loop": loop}, ROUNDS)
