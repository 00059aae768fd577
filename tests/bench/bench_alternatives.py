"""Time of a whole job relative to what people use otherwise: `python -m tests.bench.run alternatives`.

The alternatives are the scripts that the documentation of Ray Data, sentence-transformers and Daft suggests for
embeddings of a Parquet file. All programs get the same sentences, of any language and length, and the same weights in
float32. They read Parquet, average the token vectors and write Parquet, with all CPUs of this machine. The alternatives
pad batches of 32, and take every text for English, as the public tokenizer of transformers does; the job segments
Japanese, Chinese and Thai. sentence-transformers and Daft are not dependencies; to install them for this benchmark:

    pip install --no-deps --target FOLDER sentence-transformers daft scikit-learn scipy joblib threadpoolctl narwhals
    PYTHONPATH=FOLDER python -m tests.bench.run alternatives

Each program also runs on few sentences. The difference is its time without start-up.
"""

import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from itertools import count
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.bench.corpora import Corpora, Sentence, write_checkpoint
from tests.bench.table import Row
from tests.bench.timing import Times, time_alternately

ROUNDS, SENTENCES, FEW, THREADS = 1, 1_000, 32, os.cpu_count() or 1

# On batches of 32 padded sequences, as many processes with one thread each are faster than one with all threads.
EMBED = """
class Embed:
    def __init__(self):
        torch.set_num_threads(1)
        self.tokenizer = transformers.XLMTokenizer.from_pretrained(checkpoint)
        self.model = transformers.XLMModel.from_pretrained(checkpoint).eval()

    def embed(self, texts):
        inputs = self.tokenizer(texts, padding=True, truncation=True, max_length=512, return_tensors="pt")
        with torch.inference_mode():
            hidden_BLD = self.model(**inputs).last_hidden_state
        mask_BL1 = inputs["attention_mask"][..., None]
        return ((hidden_BLD * mask_BL1).sum(1) / mask_BL1.sum(1)).numpy()
"""

RAY_DATA = f"""
import sys
import ray, torch, transformers

checkpoint, corpus, out, processes = sys.argv[1:]
{EMBED}
    def __call__(self, batch):
        batch["embedding"] = self.embed(batch["text"].tolist())
        return batch

ray.init(num_cpus=int(processes), include_dashboard=False, log_to_driver=False)
(
    ray.data.read_parquet(corpus)
    .repartition(8 * int(processes))
    # if the actors reserved all CPUs, no task could read
    .map_batches(Embed, batch_size=32, num_cpus=0.5, compute=ray.data.ActorPoolStrategy(size=int(processes)))
    .write_parquet(out)
)
"""

DAFT = f"""
import sys
import daft, torch, transformers

checkpoint, corpus, out, processes = sys.argv[1:]
{EMBED}
    def __call__(self, texts):
        return list(self.embed(texts.to_pylist()))

width = transformers.XLMConfig.from_pretrained(checkpoint).emb_dim
vectors = daft.DataType.embedding(daft.DataType.float32(), width)
embed = daft.udf(return_dtype=vectors, batch_size=32, concurrency=int(processes))(Embed)
daft.read_parquet(corpus).into_batches(32).with_column("embedding", embed(daft.col("text"))).write_parquet(out)
"""

SENTENCE_TRANSFORMERS = """
import sys
import pyarrow as pa, pyarrow.parquet as pq, torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

checkpoint, corpus, out, threads = sys.argv[1:]
torch.set_num_threads(int(threads))
trunk = Transformer(checkpoint, max_seq_length=512)
model = SentenceTransformer(modules=[trunk, Pooling(trunk.get_embedding_dimension(), "mean")], device="cpu")
table = pq.read_table(corpus)
vectors = model.encode(table["text"].to_pylist(), batch_size=32)
column = pa.FixedSizeListArray.from_arrays(vectors.reshape(-1), vectors.shape[1])
pq.write_table(table.append_column("embedding", column), out)
"""

JOB = """
input: {{path: "{corpus}", id: id, text: text, lang: lang}}
model: {{checkpoint: "{checkpoint}", precision: float32}}
tasks: [feature-extraction: {{pooling: mean, normalize: false}}]
tokenizer: {{max_length: 512, zh: rjieba, ja: fugashi}}
output: {{path: "{out}"}}
compute: {{address: local}}
"""

# By name: the package, and the script.
SCRIPTS = {
    "Ray Data with transformers": ("ray", RAY_DATA),
    "sentence-transformers": ("sentence_transformers", SENTENCE_TRANSFORMERS),
    "Daft with transformers": ("daft", DAFT),
}
GOALS = {"Ray Data with transformers": "4 x"}


def measure(corpora: Corpora) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # Without embeddings of languages, so that English texts have the same vectors in all programs.
        write_checkpoint(folder / "checkpoint", corpora.sentences, use_lang_emb=False)
        chosen = corpora.sentences[-SENTENCES:]
        for size, sentences in (("few", chosen[:FEW]), ("all", chosen)):
            write_corpus(folder / f"{size}.parquet", sentences)
        english = [i for i, sentence in enumerate(chosen) if sentence.lang == "en"]
        for script, (package, text) in SCRIPTS.items():
            what = f"{len(chosen):,} sentences to vectors, float32, 6 x 512, {THREADS} cores: {script}"
            goal = GOALS.get(script, "")
            if importlib.util.find_spec(package) is None:
                yield Row(what, "not installed", goal)
                continue
            times = compare(folder, text, english)
            yield Row(f"{what}, with start-up", times.speedup("all, job", over="all, script"), goal)
            yield Row(f"{what}, without start-up", f"{speedup_without_start(times):.2g} x", goal)


def write_corpus(path: Path, sentences: list[Sentence]) -> None:
    columns = {"lang": [s.lang for s in sentences], "text": [s.text for s in sentences]}
    pq.write_table(pa.table({"id": range(len(sentences)), **columns}), path)


def compare(folder: Path, script: str, english: list[int]) -> Times:
    """Time the job and a script on few and on all sentences, and check that both compute the same vectors."""
    (folder / "script.py").write_text(script, encoding="utf-8")
    outputs = (Path(tempfile.mkdtemp(dir=folder)) / "out" for _ in count())
    latest: dict[str, Path] = {}

    def job(size: str) -> None:
        latest["job"] = next(outputs)
        paths = {"checkpoint": folder / "checkpoint", "corpus": folder / f"{size}.parquet", "out": latest["job"]}
        (folder / "job.yaml").write_text(JOB.format(**paths), encoding="utf-8")
        call("-m", "jobs.cli", "run", folder / "job.yaml")

    def alternative(size: str) -> None:
        latest["script"] = next(outputs)
        call(folder / "script.py", folder / "checkpoint", folder / f"{size}.parquet", latest["script"], THREADS)

    programs = {"job": job, "script": alternative}
    runs = {f"{size}, {name}": partial(run, size) for size in ("few", "all") for name, run in programs.items()}
    times = time_alternately(runs, ROUNDS, warm_up=False)
    ours, theirs = (read_vectors(path)[english] for path in (latest["job"] / "data", latest["script"]))
    np.testing.assert_allclose(ours, theirs, atol=1e-4)
    return times


def speedup_without_start(times: Times) -> float:
    few_job, all_job, few_script, all_script = (
        times.median(f"{size}, {name}") for name in ("job", "script") for size in ("few", "all")
    )
    return (all_script - few_script) / (all_job - few_job)


def read_vectors(path: Path) -> np.ndarray:
    table = pq.read_table(path).sort_by("id")
    return np.stack(table["embedding"].to_numpy())


def call(*arguments: object) -> None:
    done = subprocess.run([sys.executable, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{arguments}: exit status {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
