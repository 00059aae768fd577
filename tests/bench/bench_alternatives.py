"""Time of a whole job relative to what people use otherwise: `python -m tests.bench.run alternatives`.

The alternative is a script of Ray Data with transformers, as in Ray's documentation of batch inference: it reads
Parquet, pads batches of 64 in input order, averages the token vectors, and writes Parquet. It runs on the same
sentences and weights, and starts Ray, too. Its tokenizer gets the language of each text. sentence-transformers and Daft
are not compared yet.
"""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tests.bench.corpora import Corpora, Sentence, write_checkpoint
from tests.bench.table import Row
from tests.bench.timing import time_alternately

ROUNDS, SENTENCES, MAX_CHARS = 1, 1500, 400
SEGMENTED = {"ja", "zh", "th"}  # the reference needs other libraries for these

SCRIPT = """
import sys
import ray, torch, transformers
import numpy as np

checkpoint, corpus, out = sys.argv[1:]

class Embed:
    def __init__(self):
        torch.set_num_threads(1)
        self.tokenizer = transformers.XLMTokenizer.from_pretrained(checkpoint)
        self.model = transformers.XLMModel.from_pretrained(checkpoint).eval()

    def __call__(self, batch):
        ids = []
        for text, lang in zip(batch["text"], batch["lang"]):
            tokens = self.tokenizer._tokenize(str(text), lang=str(lang))[:510]
            ids.append([1, *self.tokenizer.convert_tokens_to_ids(tokens), 1])
        padded = self.tokenizer.pad({"input_ids": ids}, return_tensors="pt")
        with torch.inference_mode():
            hidden = self.model(padded["input_ids"], attention_mask=padded["attention_mask"]).last_hidden_state
        mask = padded["attention_mask"][..., None]
        batch["embedding"] = ((hidden * mask).sum(1) / mask.sum(1)).numpy().astype(np.float32)
        return batch

ray.init(include_dashboard=False, log_to_driver=False)
dataset = ray.data.read_parquet(corpus).repartition(16)
dataset.map_batches(Embed, batch_size=64, concurrency=2, num_cpus=1).write_parquet(out)
"""

JOB = """
name: bench
input: {{path: "{folder}/corpus.parquet", id: id, text: text, lang: lang, keep: [lang]}}
model: {{checkpoint: "{folder}/checkpoint"}}
tasks: [feature-extraction: {{pooling: mean}}]
tokenizer: {{max_length: 512}}
output: {{path: "{folder}/ours-{number}", rows_per_shard: 512}}
compute: {{address: local}}
"""


def measure(corpora: Corpora) -> Iterator[Row]:
    chosen = [s for s in corpora.sentences if len(s.text) <= MAX_CHARS and s.lang not in SEGMENTED][-SENTENCES:]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        times = time_alternately(_functions(folder, corpora.sentences, chosen), ROUNDS)
        yield Row(
            f"whole job with {len(chosen)} sentences, float32, 6 x 512: Ray Data with transformers",
            times.speedup("ours", over="script"),
            "4 x",
        )


def _functions(folder: Path, all_sentences: list[Sentence], chosen: list[Sentence]) -> dict:
    write_checkpoint(folder / "checkpoint", all_sentences)
    (folder / "script.py").write_text(SCRIPT, encoding="utf-8")
    table = pa.table(
        {
            "id": [str(i) for i in range(len(chosen))],
            "lang": [lang for lang, _ in chosen],
            "text": [text for _, text in chosen],
        }
    )
    pq.write_table(table, folder / "corpus.parquet")
    outputs = iter(range(1000))

    def ours() -> None:
        number = next(outputs)
        job = folder / f"job-{number}.yaml"
        job.write_text(JOB.format(folder=folder, number=number), encoding="utf-8")
        _call(["-m", "jobs.cli", "run", job])
        assert pq.read_table(folder / f"ours-{number}" / "data").num_rows == len(chosen)

    def script() -> None:
        out = folder / f"theirs-{next(outputs)}"
        _call([folder / "script.py", folder / "checkpoint", folder / "corpus.parquet", out])
        assert pq.read_table(out).num_rows == len(chosen)

    return {"ours": ours, "script": script}


def _call(arguments: list) -> None:
    done = subprocess.run([sys.executable, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{arguments}: exit status {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
