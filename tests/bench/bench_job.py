"""Start-up of the commands relative to that of Ray, and whole jobs relative to a plain loop over the same model.

Also, for three jobs of different kinds, the time that `xlm plan` expects relative to that of the run.

python -m tests.bench.run job
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np

from tests.bench.corpora import Corpora, Sentence, write_checkpoint
from tests.bench.table import Row
from tests.bench.timing import Times, time_alternately

ROUNDS, SENTENCES, ROWS_PER_SHARD, MAX_TOKENS, THREADS = 2, 8_000, 1_000, 4_096, os.cpu_count() or 1
STARTS, SMALL_SENTENCES = 3, 64
MAX_CHARS, NUM_EMBEDDED, NUM_ANSWERED, NUM_TAGGED = 100, 8_000, 200, 60_000
SHAPE = ("n_layers", "emb_dim", "n_heads")
HEADS = {
    "text-classification": "SequenceClassificationHead",
    "token-classification": "TokenClassificationHead",
    "question-answering": "QuestionAnsweringSimpleHead",
}

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
        yield from measure_estimates(folder / "estimates", corpora)


def measure_estimates(folder: Path, corpora: Corpora) -> Iterator[Row]:
    """Yield for jobs of three kinds the time that `xlm plan` expects, relative to that of the run that follows."""
    short = [s for s in corpora.sentences if len(s.text) <= MAX_CHARS]
    question_of = {s.lang: s.text for s in short}
    paragraphs = sorted((s for s in corpora.sentences if s.lang in question_of), key=lambda s: -len(s.text))
    jobs = {
        "embeddings of short sentences, 6 x 512": (short[-NUM_EMBEDDED:], "feature-extraction", (6, 512, 8)),
        "answers in paragraphs, 12 x 768": (paragraphs[:NUM_ANSWERED], "question-answering", (12, 768, 12)),
        "words of short sentences tagged, 2 x 64": (short[-NUM_TAGGED:], "token-classification", (2, 64, 4)),
    }
    for number, (what, (sentences, task, shape)) in enumerate(jobs.items()):
        path = folder / str(number)
        write_checkpoint(path / "checkpoint", corpora.sentences, **dict(zip(SHAPE, shape, strict=True)))
        questions = {"question": [question_of[s.lang] for s in sentences]} if task == "question-answering" else {}
        settings = f"{{head: {write_head(path, task)}}}" if task in HEADS else "{pooling: mean}"
        write_corpus(path, sentences, questions)
        write_job_file(path, f"[{task}: {settings}]", text="[question, text]" if questions else "text")
        times = time_estimates(path)
        yield Row(f"{what}: time that xlm plan expects", f"{times.ratio('plan', 'run'):.2f} x", "0.75 to 1.25 x")


def time_estimates(folder: Path) -> Times:
    times = Times({"plan": [], "run": []})
    for number in range(ROUNDS):
        plan = [sys.executable, "-m", "jobs.cli", "plan", folder / "job.yaml", "--json"]
        printed = subprocess.run(plan, check=True, capture_output=True, text=True).stdout
        times.seconds["plan"].append(float(json.loads(printed)["estimate"]["total_s"]))
        run = ["-m", "jobs.cli", "run", folder / "job.yaml", "--set", f"output.path={folder}/out-{number}"]
        times.seconds["run"].append(time_program(*run))
    return times


def write_job(folder: Path, sentences: list[Sentence], **shape: int) -> None:
    """Write a corpus, a checkpoint, a head and a job with two tasks."""
    write_checkpoint(folder / "checkpoint", sentences, **shape)
    head = write_head(folder, "text-classification")
    write_corpus(folder, sentences)
    tasks = f"[feature-extraction: {{pooling: mean, normalize: true}}, text-classification: {{head: {head}}}]"
    write_job_file(folder, tasks, rows=ROWS_PER_SHARD)


def write_head(folder: Path, task: str) -> Path:
    import xlm_core

    labels = {} if task == "question-answering" else {"id2label": {str(i): f"label {i}" for i in range(8)}}
    config = xlm_core.XLMConfig.from_pretrained(folder / "checkpoint").to_dict() | labels
    getattr(xlm_core, HEADS[task])(xlm_core.XLMConfig.from_dict(config)).save_pretrained(folder / "head")
    return folder / "head"


def write_corpus(
    folder: Path, sentences: list[Sentence], columns: Mapping[str, list[str]] = MappingProxyType({})
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    langs, texts = zip(*sentences, strict=True)
    table = {"id": np.arange(len(sentences)), "lang": langs, "text": texts, **columns}
    pq.write_table(pa.table(table), folder / "corpus.parquet")


def write_job_file(folder: Path, tasks: str, *, text: str = "text", rows: int = 16_384) -> None:
    (folder / "job.yaml").write_text(f"""
input: {{path: {folder}/corpus.parquet, id: id, text: {text}, lang: lang}}
model: {{checkpoint: {folder}/checkpoint}}
tasks: {tasks}
tokenizer: {{max_length: 512, zh: rjieba, ja: fugashi}}
output: {{path: {folder}/out, rows_per_shard: {rows}}}
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
