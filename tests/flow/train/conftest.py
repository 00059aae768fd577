"""Small trainings over the texts of the demo's corpus, with labels that can be learned from the text."""

import copy
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.training_job import TrainingJob

MODEL = {"emb_dim": 32, "n_layers": 2, "n_heads": 4, "max_position_embeddings": 128}
KINDS: dict[str, dict[str, Any]] = {
    "text-classification": {"text": "text", "label": "topic"},
    "token-classification": {"text": "words", "label": "labels"},
    "multiple-choice": {"text": ["text", "choices"], "label": "choice"},
    "question-answering": {"text": ["question", "text"]},
    "masked-language-modeling": {"text": "text", "stream_tokens": 32},
    "causal-language-modeling": {"text": "text", "stream_tokens": None},
    "translation-language-modeling": {"text": ["text", "other"], "second_lang": {"fixed": "en"}},
    "translation-ranking": {"text": ["text", "other"], "second_lang": {"fixed": "en"}},
}


@pytest.fixture(scope="session")
def rows(corpus: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for i, row in enumerate(corpus[:200]):
        words = row["text"].split()
        found.append(
            {
                "id": row["id"],
                "lang": row["lang"],
                "text": row["text"],
                "topic": row["topic"],
                "words": words,
                "labels": ["SHORT" if len(word) < 4 else "LONG" for word in words],
                "choices": ["a", "b", "c"][: 2 + i % 2],
                "choice": i % 2,
                "question": "Where?",
                "answer_text": None if i % 5 == 0 else words[-1],
                "answer_start": None if i % 5 == 0 else row["text"].rindex(words[-1]),
                "other": corpus[(i + 1) % 20]["text"],
                "split": "dev" if i % 8 == 0 else "train",
                "value": float(len(words)),
                "several": ["short"] if len(words) < 4 else ["long", row["topic"]],
            }
        )
    return found


@pytest.fixture(scope="session")
def data(rows: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("training") / "rows.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=64)
    return path


@pytest.fixture
def objective(data: Path) -> Callable[..., dict[str, Any]]:
    """Return a function that makes the settings of an objective over `data`; None leaves out a setting."""

    def make(kind: str, **changes: Any) -> dict[str, Any]:
        settings = copy.deepcopy(KINDS[kind])
        text = settings.pop("text")
        where = {"path": str(data), "text": text, "lang": "lang", "filter": "split == 'train'"}
        settings |= {"input": where | changes.pop("input", {}), "dev": {"filter": "split == 'dev'"}, **changes}
        return {kind: {name: value for name, value in settings.items() if value is not None}}

    return make


@pytest.fixture
def make_training(checkpoint: Path, tmp_path: Path) -> Callable[..., TrainingJob]:
    """Return a function that makes a training of a new model; arguments change the section `training`."""
    numbers = itertools.count()

    def make(*objectives: dict[str, Any], model: dict[str, Any] | None = None, **training: Any) -> TrainingJob:
        settings = {"steps": 6, "tokens_per_step": 512, "learning_rate": 2e-3, "warmup_steps": 2, "evaluate_every": 3}
        return TrainingJob.model_validate(
            {
                "model": model or {"config": MODEL, "tokenizer": str(checkpoint)},
                "objectives": list(objectives),
                "training": settings | training,
                "tokenizer": {"ja": "fugashi"},
                "output": {"path": str(tmp_path / f"out{next(numbers)}")},
                "compute": {"gpus_per_worker": 0, "tokenizers": 1},
            }
        )

    return make
