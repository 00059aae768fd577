"""Run a training in this process, without Ray."""

from typing import Any

import torch

from pipelines.corpus import planned_shards
from pipelines.errors import FatalError
from pipelines.train.examples.encode import EncodedShard, EncodeExamples
from pipelines.train.execute import worker_settings
from pipelines.train.prepare import prepare_training
from pipelines.train.worker import TrainingLoop
from pipelines.training_job import TrainingJob


def train_here(job: TrainingJob) -> dict[str, Any]:
    """Encode the examples, train, and write the checkpoint. Return the last progress."""
    prepared = prepare_training(job)
    for corpus in prepared.corpora:
        encode = EncodeExamples(corpus.encode)
        for shard in corpus.reader.read(planned_shards(corpus.shards)):
            (row,) = encode(shard.to_table()).to_pylist(maps_as_pydicts="strict")
            if (error := EncodedShard(**row).error) is not None:
                raise FatalError(f"{corpus.title}: {error}")
    progress: list[dict[str, Any]] = []
    TrainingLoop(worker_settings(prepared, 1), torch.device("cpu"), progress.append, lambda: False).run()
    return progress[-1]
