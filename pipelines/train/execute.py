"""Run a training: encode its examples, train on Ray Train, and write the checkpoint. A killed one resumes."""

from __future__ import annotations

import tempfile
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from pipelines.checkpoints import load_tokenizer
from pipelines.errors import ClusterError, FatalError
from pipelines.formatting import format_count
from pipelines.job import ComputeSettings
from pipelines.log import announce
from pipelines.run import Stop, ray_session, stop_signals
from pipelines.train.build import BuildSettings, ExampleFiles
from pipelines.train.encoding import encode_examples
from pipelines.train.messages import clear_messages, read_error, read_progress, read_record, request_stop
from pipelines.train.prepare import prepare_training
from pipelines.train.progress import TrainingProgress
from pipelines.train.reporting import Reporter, check_tensorboard
from pipelines.train.training_output import TrainingOutput
from pipelines.train.worker import WorkerSettings
from xlm_core.training import find_parts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from pipelines.stages import Node
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
    if job.output.tensorboard:
        check_tensorboard()
    prepared = prepare_training(job, notify)
    output = TrainingOutput(prepared.output, prepared.fingerprint)
    if output.is_complete():
        notify(f"nothing to do: {output.location.url} has the checkpoint of this training")
        return output.read_report()
    with output.lock():
        output.begin(job.model_dump(mode="json"))
        stop = Stop()
        compute = ComputeSettings(
            address=job.compute.address,
            models=job.compute.workers,
            gpus_per_model=float(job.compute.gpus_per_worker),
            object_store_mb=job.compute.object_store_mb,
        )
        with stop_signals(stop), ray_session(compute, with_runtime_envs=True) as (nodes, _):
            data = encode_examples(prepared, nodes, console)
            if stop.reason:
                return {"status": "interrupted"}
            report = _train(prepared, Reporter(prepared, data), nodes, console, stop)
        if report["status"] == "complete":
            output.finish()
        return report


def _train(
    prepared: PreparedTraining, reporter: Reporter, nodes: Sequence[Node], console: Console, stop: Stop
) -> dict[str, Any]:
    """Train on Ray Train, and return the report."""
    job = prepared.job
    num_gpus = sum(node.gpus for node in nodes)
    use_gpu = job.compute.gpus_per_worker > 0 and num_gpus > 0
    cpus = sum(node.cpus for node in nodes)
    threads = max(1, int(min(cpus / job.compute.workers, max(node.cpus for node in nodes))))
    _check_resources(prepared, nodes, use_gpu=use_gpu)
    settings = worker_settings(prepared, threads)
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
    num_records = 0
    with progress.show():
        while thread.is_alive():
            thread.join(_POLL_EVERY_S)
            state = read_progress()
            progress.update(state)
            if state.get("num_records", num_records) != num_records:
                num_records = state["num_records"]
                reporter.watch(read_record(), state)
            if stop.reason and asked_at is None:
                asked_at = time.monotonic()
                announce(console, f"{stop.reason}; saving the state of the training")
                request_stop()
            if asked_at is not None and time.monotonic() - asked_at > _STOP_WITHIN_S:
                break
    message, record, state = read_error(), read_record(), read_progress()
    if message is None and failures:
        message = f"Ray Train failed: {_describe_failure(failures[0])}"
    if message is None and not record:
        return {"status": "interrupted"}
    if message is None:
        status = "complete" if state["status"] == "complete" else "interrupted"
        return reporter.write(record, state | {"status": status})
    reporter.watch(record, state | {"status": "failed", "error": message})
    raise ClusterError(message) if failures else FatalError(message)


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


def worker_settings(prepared: PreparedTraining, num_threads: int) -> WorkerSettings:
    """Return what a worker with this many CPU threads needs."""
    tokenizer = load_tokenizer(prepared.job.tokenizer, prepared.checkpoint)
    special = [tokenizer.vocab[token] for token in tokenizer.all_special_tokens if token in tokenizer.vocab]
    build = BuildSettings(
        prepared.job,
        prepared.config,
        prepared.checkpoint if prepared.job.model.checkpoint else None,
        prepared.heads,
        {title: ExampleFiles(c.encode.folder, c.shards["shard"].to_pylist()) for title, c in prepared.rows.items()},
        {title: ExampleFiles(c.encode.folder, c.shards["shard"].to_pylist()) for title, c in prepared.dev.items()},
        prepared.label_types,
        special,
        tokenizer.mask_token_id,
        find_parts(tokenizer.vocab, tokenizer.merges),
    )
    load = partial(load_tokenizer, prepared.job.tokenizer, prepared.checkpoint)
    return WorkerSettings(build, prepared.output, load, num_threads)
