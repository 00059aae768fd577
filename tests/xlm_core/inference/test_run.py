"""Forward passes are started one ahead of their results, and keep and read nothing that would make a GPU wait."""

import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from xlm_core import XLMConfig, XLMModel
from xlm_core.decoding import Sequences
from xlm_core.errors import NotFiniteError
from xlm_core.heads import (
    POOLINGS,
    LanguageModelHead,
    MultipleChoiceHead,
    QuestionAnsweringHead,
    QuestionAnsweringSimpleHead,
    SequenceClassificationHead,
    TokenClassificationHead,
)
from xlm_core.inference import (
    ChoiceCollector,
    ClassificationCollector,
    Collector,
    EmbeddingCollector,
    LogitCollector,
    MaskCollector,
    Model,
    ScoreCollector,
    TaggingCollector,
    answer_collector,
    run_collectors,
)
from xlm_core.model import PackedBatch
from xlm_core.model.attention import VarlenPlan
from xlm_core.model.copies import Write

MASK, CLASS_TOKEN = 5, 1
CONFIG = {"vocab_size": 60, "emb_dim": 16, "n_layers": 2, "n_heads": 2, "n_langs": 3, "num_labels": 2}
SIZES = [9, 4, 7, 3, 6, 5]


def make_sequences() -> Sequences:
    """Return six rows of one sequence each, with a class token, a mask, and each token a word."""
    ids = np.concatenate([[CLASS_TOKEN, MASK, *range(6, size + 4)] for size in SIZES]).astype(np.int32)
    words = np.concatenate([[-1, *range(size - 2), -1] for size in SIZES]).astype(np.int32)
    cu_seqlens = np.concatenate([[0], np.cumsum(SIZES)]).astype(np.int32)
    zeros, rows = np.zeros(len(SIZES), np.int32), np.arange(len(SIZES) + 1, dtype=np.int32)
    offsets = np.stack([words, words + 1], axis=1)
    return Sequences(ids, cu_seqlens, zeros, rows, zeros, words, offsets)


def make_model(max_tokens: int = 12, **changes: Any) -> Model:
    torch.manual_seed(0)
    return Model(XLMModel(XLMConfig.from_dict(CONFIG | changes)).eval(), Path(), max_tokens, invariant=False)


def embed(sequences: Sequences, layers: list[int], pooling: Any = "mean") -> EmbeddingCollector:
    return EmbeddingCollector(sequences, pooling=pooling, layers=layers, dim=16, normalize=False, each_window=False)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Passes run one after another, as on a GPU, whatever number of threads another test has left."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Watched(EmbeddingCollector):
    """Records how many passes have been computed, and keeps weak references to their states."""

    def __init__(self, sequences: Sequences):
        super().__init__(sequences, pooling="first", layers=[0], dim=16, normalize=False, each_window=False)
        self.num_passes, self.states = 0, list[weakref.ref[torch.Tensor]]()

    def compute(self, step: Any) -> list[Write]:
        assert all(state() is None for state in self.states)
        self.states = [weakref.ref(state) for state in step.states]
        self.num_passes += 1
        return super().compute(step)


def test_results_arrive_one_pass_late_and_states_are_freed_before_the_next_pass(one_thread, monkeypatch):
    model, sequences = make_model(), make_sequences()
    run = XLMModel.forward_with_plan

    def forward_with_plan(*args: Any, **options: Any) -> Any:
        assert all(state() is None for state in watched.states)
        return run(*args, **options)

    monkeypatch.setattr(XLMModel, "forward_with_plan", forward_with_plan)
    watched, shares, passes = Watched(sequences), list[float](), list[int]()

    def on_progress(share: float) -> None:
        shares.append(share)
        passes.append(watched.num_passes)

    (found,), _ = run_collectors(model, sequences, lambda: [watched], on_progress)
    assert passes == [2, 3, 4, 4, 4]  # the last one is when the collector has returned its result
    assert shares == [9 / 34, 16 / 34, 27 / 34, 1, 1]
    assert np.isfinite(found).all()


def test_results_do_not_depend_on_the_number_of_passes():
    sequences = make_sequences()
    one, several = (
        run_collectors(make_model(max_tokens), sequences, lambda: [embed(sequences, [-1]), embed(sequences, [0, 1])])
        for max_tokens in (1000, 12)
    )
    for expected, found in zip(one[0], several[0], strict=True):
        assert np.allclose(found, expected, atol=1e-6)


def test_output_that_is_not_finite_ends_the_run_when_it_arrives(one_thread, monkeypatch):
    model, sequences = make_model(), make_sequences()
    run, sizes = XLMModel.forward_with_plan, list[int]()

    def forward_with_plan(trunk: XLMModel, batch: Any, *args: Any, **options: Any) -> Any:
        sizes.append(batch.num_tokens)
        states = run(trunk, batch, *args, **options)
        return tuple(state * torch.inf for state in states) if len(sizes) == 2 else states

    monkeypatch.setattr(XLMModel, "forward_with_plan", forward_with_plan)
    with pytest.raises(NotFiniteError, match=r"not finite in torch\.float32"):
        run_collectors(model, sequences, lambda: [embed(sequences, [-1])])
    assert len(sizes) == 3


def config() -> XLMConfig:
    return XLMConfig.from_dict(CONFIG)


def answers(sequences: Sequences, head: Any) -> Collector[Any]:
    contexts = ["x" * size for size in SIZES]
    return answer_collector(sequences, head, contexts, cls_token_id=CLASS_TOKEN, top_k=2, max_answer_tokens=3)


class Vocabulary:
    mask_token_id = MASK


def fill(sequences: Sequences, model: Model) -> Collector[Any]:
    model.tokenizer = Vocabulary()  # pyright: ignore[reportAttributeAccessIssue]
    return MaskCollector(sequences, model, LanguageModelHead(config()), 3)


COLLECTORS: dict[str, Callable[[Sequences, Model], Collector[Any]]] = {
    "embedding, mean": lambda sequences, _: embed(sequences, [-1]),
    "embedding, first": lambda sequences, _: embed(sequences, [0, 1], "first"),
    "classification": lambda sequences, _: ClassificationCollector(
        sequences, SequenceClassificationHead(config()).eval(), "single-label"
    ),
    "tagging": lambda sequences, _: TaggingCollector(
        sequences, TokenClassificationHead(config()).eval(), ["x"], pieces="mean", scheme=None, keep_given_words=False
    ),
    "choosing": lambda sequences, _: ChoiceCollector(sequences, MultipleChoiceHead(config()).eval()),
    "answering": lambda sequences, _: answers(sequences, QuestionAnsweringSimpleHead(config()).eval()),
    "answering with beams": lambda sequences, _: answers(sequences, QuestionAnsweringHead(config()).eval()),
    "filling": fill,
    "scoring": lambda sequences, model: ScoreCollector(sequences, model, LanguageModelHead(config())),
}


@pytest.mark.parametrize("name", COLLECTORS)
def test_pass_reads_no_value_from_its_device(name):
    """Tensors of the meta device have no values: an operation that reads one on the host, as `item` does, fails."""
    sequences = make_sequences()
    with torch.device("meta"), torch.inference_mode():
        model = make_model(100, causal=name == "scoring")
        model.trunk.to(torch.bfloat16).attention_planner = VarlenPlan.from_batch  # as on a GPU
        collector = COLLECTORS[name](sequences, model)
        step = model.run_pass(sequences, np.arange(len(SIZES)), collector.layers)
        writes = collector.compute(step)
    assert writes
    for write in writes:
        assert write.values.is_meta
        assert write.values.shape == write.target[write.rows].shape
        with pytest.raises(RuntimeError):
            write.values.flatten()[0].item()


@pytest.mark.parametrize(
    ("embedded", "classified", "num_run"), [([0], 0, 0), ([1], -3, 1), ([1], 1, 1), ([-1], 0, 2), ([0, 2], -1, 2)]
)
def test_collectors_read_their_layers_and_no_later_layer_runs(embedded: list[int], classified: int, num_run: int):
    model, sequences = make_model(1000), make_sequences()
    batch = PackedBatch.from_ragged(sequences.input_ids, sequences.cu_seqlens, sequences.langs)
    head = SequenceClassificationHead(XLMConfig.from_dict(CONFIG | {"summary_layer": classified})).eval()
    with torch.inference_mode():
        _, states = model.trunk.forward_packed(batch, output_hidden_states=True)
        pooled = [POOLINGS["mean"](states[layer], batch.cu_seqlens) for layer in embedded]
        logits = head.forward_packed(states[classified], batch.cu_seqlens)
    runs: list[object] = []
    for layer in model.trunk.layers:
        layer.register_forward_hook(lambda module, *_: runs.append(module))

    def start() -> list[Collector[Any]]:
        return [
            embed(sequences, embedded),
            ClassificationCollector(sequences, head, "single-label"),
            LogitCollector(sequences, head, 2),
        ]

    (vectors, scores, found), _ = run_collectors(model, sequences, start)
    assert len(runs) == num_run
    assert np.allclose(vectors, torch.stack(pooled).mean(0), atol=1e-6)
    assert np.allclose(scores, logits.softmax(-1), atol=1e-6)
    assert np.allclose(found, logits, atol=1e-6)
