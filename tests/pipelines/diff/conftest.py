"""Outputs of the real stages to compare."""

import copy
import itertools
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from pipelines.job.job import Job
from pipelines.output.directory import Output
from pipelines.run.prepare import prepare_job
from tests.flow.heads import write_checkpoints
from tests.flow.in_process import run_to_records


@pytest.fixture(scope="session")
def checkpoints(demo, tmp_path_factory):
    """The trunk `lm` and heads; `lm2`, `topic2` and `tags2` have slightly different weights."""
    folder = tmp_path_factory.mktemp("heads")
    write_checkpoints(demo, folder)
    torch.manual_seed(0)
    for name, scale in (("lm", 0.01), ("heads/topic", 0.3), ("heads/tags", 0.05)):
        other = folder / f"{name}2"
        shutil.copytree(folder / name, other)
        weights = load_file(other / "model.safetensors")
        changed = {key: value + scale * torch.randn_like(value) for key, value in weights.items()}
        save_file(changed, other / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.fixture(scope="session")
def rows(corpus):
    """60 sentences of six languages."""
    return [row for row in corpus if row["lang"] in ("de", "en", "ru", "ar", "sw", "zh")][::2]


@pytest.fixture(scope="session")
def run(demo, checkpoints, tmp_path_factory):
    """Run a job on rows, and return the path of its output. Rows run alone, so that equal jobs give equal bits."""
    base = yaml.safe_load((demo / "small.yaml").read_text(encoding="utf-8"))
    number = itertools.count()

    def run(rows, *tasks, checkpoint="lm", path=None, **changes):
        folder = tmp_path_factory.mktemp(f"diff-{next(number)}")
        path = path or folder / "in.parquet"
        pq.write_table(pa.Table.from_pylist(rows), path)
        spec = copy.deepcopy(base) | {"tasks": list(tasks), "batch": {"invariant": True}}
        spec["input"] = {"path": str(path), "id": "id", "text": "text", "lang": "lang", "keep": ["lang"]}
        spec["model"] = {"checkpoint": str(checkpoints / checkpoint)}
        spec["output"] = {"path": str(folder / "out"), "rows_per_shard": 40}
        for name, value in changes.items():
            section, _, setting = name.partition("__")
            spec[section][setting] = value
        job = Job.model_validate(spec)
        records = run_to_records(job)
        prepared = prepare_job(job)
        output = Output(prepared.output)
        output.begin(prepared.description, prepared.plan.shards)
        output.ledger.append(records)
        (output.location / "_SUCCESS").put(b"")
        return job.output.path

    return run


@pytest.fixture(scope="session")
def every_task(checkpoints):
    """Tasks with all their columns; their heads with the suffix "2" have slightly different weights."""

    def tasks(other=""):
        heads = checkpoints / "heads"
        return [
            {"feature-extraction": {}},
            {"feature-extraction": {"prefix": "w_", "windows": "each"}},
            {"text-classification": {"head": str(heads / f"topic{other}"), "top_k": 2, "scores": True}},
            {"token-classification": {"head": str(heads / f"tags{other}")}},
            {"token-classification": {"head": str(heads / f"tags{other}"), "aggregate": "entity", "prefix": "ner_"}},
            "lm-scoring",
        ]

    return tasks


@pytest.fixture(scope="session")
def runs(run, rows, every_task):
    """Two runs of one corpus, with different weights, shards and order."""
    windows = {"tokenizer__max_length": 24, "tokenizer__on_overflow": "window", "tokenizer__overlap_tokens": 4}
    a = run(rows, *every_task(), **windows)
    b = run(rows[::-1], *every_task("2"), checkpoint="lm2", output__rows_per_shard=7, **windows)
    return a, b
