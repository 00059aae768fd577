"""Run a training: encode its examples, train on Ray Train, and write the checkpoint. A killed one resumes."""

from __future__ import annotations

import json
import tempfile
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pipelines.checkpoints import load_tokenizer
from pipelines.errors import ClusterError, FatalError
from pipelines.formatting import format_count
from pipelines.job import ComputeSettings
from pipelines.log import announce
from pipelines.output import Output
from pipelines.run import Stop, ray_session, stop_signals
from pipelines.train.build import BuildSettings, ExampleFiles
from pipelines.train.layout import REPORT_FILE, SUCCESS, TRAINING_FILE
from pipelines.train.messages import clear_messages, read_error, read_progress, request_stop
from pipelines.train.prepare import prepare_training
from pipelines.train.progress import EncodingProgress, TrainingProgress
from pipelines.train.worker import WorkerSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from pipelines.stages import Node
    from pipelines.storage import Location
    from pipelines.train.prepare import PreparedTraining
    from pipelines.training_job import TrainingJob

_MAX_WORKER_FAILURES = 3
_POLL_EVERY_S = 0.2
_STOP_WITHIN_S = 60.0


def train(job: TrainingJob, console: Console) -> dict[str, Any]:
    """Run a training to its end, or resume it where an earlier run stopped.

    Args:
        job: the training.
        console: where progress is shown.

    Returns:
        The report, with a `status`: complete or interrupted.

    Raises:
        FatalError: the training cannot work.
        RetryableError: Ray, its cluster or a store failed. The same call resumes the training.
    """
    notify = partial(announce, console)
    prepared = prepare_training(job, notify)
    output = prepared.output
    if _is_complete(prepared):
        notify(f"nothing to do: {output.url} has the checkpoint of this training")
        return json.loads((output / REPORT_FILE).read_bytes())
    with Output(output).lock():
        _check_fingerprint(prepared)
        description = {"job": job.model_dump(mode="json"), "fingerprint": prepared.fingerprint}
        (output / TRAINING_FILE).put(json.dumps(description, indent=2, ensure_ascii=False).encode())
        stop = Stop()
        compute = ComputeSettings(
            address=job.compute.address,
            models=job.compute.workers,
            gpus_per_model=float(job.compute.gpus_per_worker),
            object_store_mb=job.compute.object_store_mb,
        )
        with stop_signals(stop), ray_session(compute, with_runtime_envs=True) as (nodes, _):
            _encode(prepared, nodes, console, stop)
            progress = {} if stop.reason else _train(prepared, nodes, console, stop)
        if progress.get("status") != "complete":
            return {"status": "interrupted", "reason": stop.reason, **progress}
        report = {"name": job.name, **progress}
        (output / REPORT_FILE).put(json.dumps(report, indent=2).encode())
        (output / SUCCESS).put(b"")
        return report


def _is_complete(prepared: PreparedTraining) -> bool:
    """Return whether the training is done; if it began with other settings, refuse it."""
    _check_fingerprint(prepared)
    return (prepared.output / SUCCESS).is_file()


def _check_fingerprint(prepared: PreparedTraining) -> None:
    file = prepared.output / TRAINING_FILE
    if not file.is_file():
        if foreign := [f.url for f in prepared.output.list() if not f.name.startswith(".")]:
            raise FatalError(
                f"{prepared.output.url}: contains files that were not written by a training, such as {foreign[0]}; set "
                "output.path to a new or empty directory"
            )
        return
    saved = json.loads(file.read_bytes())["fingerprint"]
    current = json.loads(json.dumps(prepared.fingerprint))
    differing = sorted(_differences(saved, current))
    if differing:
        raise FatalError(
            f"{prepared.output.url}: was begun with other settings ({', '.join(differing)}); restore them, or set "
            "output.path to a new directory"
        )


def _differences(saved: Any, current: Any, path: str = "") -> list[str]:
    """Return the paths of the values that differ."""
    if saved == current:
        return []
    if isinstance(saved, dict) and isinstance(current, dict):
        keys = saved.keys() | current.keys()
        return [found for key in keys for found in _differences(saved.get(key), current.get(key), f"{path}.{key}")]
    return [path.removeprefix(".")]


def _encode(prepared: PreparedTraining, nodes: Sequence[Node], console: Console, stop: Stop) -> None:
    """Encode all examples that are not there yet."""
    from pipelines.train.examples import encode_corpus  # imports Ray Data, while Ray's first workers start

    cpus = sum(node.cpus for node in nodes)
    spec = prepared.job.compute.tokenizers
    num_tokenizers = max(1, int(cpus - 1)) if spec == "auto" else spec
    for corpus in prepared.corpora:
        folder = corpus.encode.folder
        done = {file.name.removesuffix(".parquet") for file in folder.list()}
        counts = _read_counts(folder)
        done &= counts.keys()
        todo = corpus.shards.filter(pa.array([shard not in done for shard in corpus.shards["shard"].to_pylist()]))
        if stop.reason:
            return
        if len(todo):
            announce(console, f"{corpus.title}: encoding {format_count(int(todo['num_rows'].to_numpy().sum()), 'row')}")
            progress = EncodingProgress(console, corpus, counts)
            with progress.show():
                encode_corpus(corpus, todo, num_tokenizers, progress.add)
            (folder / _COUNTS).put(json.dumps(counts).encode())
        _check_rejected(prepared, corpus.title, counts)


_COUNTS = "counts.json"  # of each shard: rows, examples, and the reasons why other rows were left out


def _read_counts(folder: Location) -> dict[str, Any]:
    file = folder / _COUNTS
    return json.loads(file.read_bytes()) if file.is_file() else {}


def _check_rejected(prepared: PreparedTraining, title: str, counts: dict[str, Any]) -> None:
    num_rows = sum(count["rows"] for count in counts.values())
    reasons: dict[str, int] = {}
    for count in counts.values():
        for reason, number in count["reasons"].items():
            reasons[reason] = reasons.get(reason, 0) + number
    rejected, limit = sum(reasons.values()), prepared.job.policy.max_rejected
    if num_rows == 0:
        raise FatalError(f"{title}: no rows; correct the path or the filter")
    if rejected > limit * num_rows:
        listed = ", ".join(f"{number:,} {reason}" for reason, number in sorted(reasons.items()))
        raise FatalError(
            f"{title}: {rejected:,} of {format_count(num_rows, 'row')} cannot be used ({listed}), more than "
            f"policy.max_rejected ({limit:g}) allows; correct the rows, or raise the limit"
        )


def _train(prepared: PreparedTraining, nodes: Sequence[Node], console: Console, stop: Stop) -> dict[str, Any]:
    """Train on Ray Train, and return the last progress."""
    job = prepared.job
    num_gpus = sum(node.gpus for node in nodes)
    use_gpu = job.compute.gpus_per_worker > 0 and num_gpus > 0
    cpus = sum(node.cpus for node in nodes)
    threads = max(1, int(cpus // job.compute.workers))
    _check_resources(prepared, nodes, use_gpu=use_gpu)
    settings = WorkerSettings(
        _build_settings(prepared),
        prepared.output,
        partial(load_tokenizer, job.tokenizer, prepared.checkpoint),
        threads,
    )
    resources = {"CPU": min(1.0, cpus / (job.compute.workers + 1))}
    if use_gpu:
        resources["GPU"] = float(job.compute.gpus_per_worker)
    clear_messages()
    progress = TrainingProgress(console)
    failures: list[BaseException] = []
    thread = threading.Thread(
        target=_fit, args=(settings, job.compute.workers, use_gpu, resources, failures), daemon=True
    )
    thread.start()  # Ray Train would replace the handlers of signals in the main thread
    asked_at: float | None = None
    with progress.show():
        while thread.is_alive():
            thread.join(_POLL_EVERY_S)
            progress.update(read_progress())
            if stop.reason and asked_at is None:
                asked_at = time.monotonic()
                announce(console, f"{stop.reason}; saving the state of the training")
                request_stop()
            if asked_at is not None and time.monotonic() - asked_at > _STOP_WITHIN_S:
                break
    if (message := read_error()) is not None:
        raise FatalError(message)
    if failures:
        raise ClusterError(f"Ray Train failed: {_describe_failure(failures[0])}")
    return read_progress()


def _fit(
    settings: WorkerSettings, workers: int, use_gpu: bool, resources: dict[str, float], failures: list[BaseException]
) -> None:
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    from pipelines.train.worker import train_worker

    try:
        with tempfile.TemporaryDirectory(prefix="xlm-train-") as storage:
            TorchTrainer(
                train_worker,
                train_loop_config={"settings": settings},
                scaling_config=ScalingConfig(num_workers=workers, use_gpu=use_gpu, resources_per_worker=resources),
                # objectives exchange small tensors on the CPU as well
                torch_config=TorchConfig(backend="cpu:gloo,cuda:nccl" if use_gpu else "gloo"),
                run_config=RunConfig(
                    name="training",
                    storage_path=storage,
                    failure_config=FailureConfig(max_failures=_MAX_WORKER_FAILURES),
                ),
            ).fit()
    except Exception as error:
        failures.append(error)


def _describe_failure(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[-1] if lines else type(error).__name__


def _check_resources(prepared: PreparedTraining, nodes: Sequence[Node], *, use_gpu: bool) -> None:
    compute = prepared.job.compute
    if not use_gpu:
        return
    number = sum(int(node.gpus // compute.gpus_per_worker) for node in nodes)
    if number < compute.workers:
        raise FatalError(
            f"compute.workers is {compute.workers} with {format_count(compute.gpus_per_worker, 'GPU')} each, but the "
            f"cluster has GPUs for {number}; set it lower"
        )


def _build_settings(prepared: PreparedTraining) -> BuildSettings:
    tokenizer = load_tokenizer(prepared.job.tokenizer, prepared.checkpoint)
    special = [tokenizer.vocab[token] for token in tokenizer.all_special_tokens if token in tokenizer.vocab]
    return BuildSettings(
        prepared.job,
        prepared.config,
        prepared.checkpoint if prepared.job.model.checkpoint else None,
        prepared.heads,
        {title: ExampleFiles(c.encode.folder, c.shards["shard"].to_pylist()) for title, c in prepared.rows.items()},
        {title: ExampleFiles(c.encode.folder, c.shards["shard"].to_pylist()) for title, c in prepared.dev.items()},
        prepared.label_types,
        special,
        tokenizer.mask_token_id,
    )
