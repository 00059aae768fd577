"""The class XLM gives the numbers of a job, to the last bit, because both run the same code."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from pipelines.tasks import TASKS
from xlm_core import XLM

Row = dict[str, Any]


class Call(NamedTuple):
    """What a call gets."""

    xlm: XLM
    rows: list[Row]
    heads: Path

    @property
    def langs(self) -> list[str]:
        return self.texts("lang")

    def texts(self, column: str = "text") -> list[Any]:
        return [row[column] for row in self.rows]


class Case(NamedTuple):
    """A task of a job, and the call that gives the same results."""

    task: Row
    call: Callable[[Call], list[Any]]
    columns: Callable[[Any], Row]  # of a result of the call
    text: Any = "text"
    windows: bool = True  # whether the task can merge windows
    causal: bool = False


def labels(result: Any) -> list[Row]:
    return [asdict(label) for label in result.labels]


CASES: dict[str, Case] = {
    "embed": Case(
        {"feature-extraction": {"layer": [1, -1], "truncate_dim": 10}},
        lambda c: list(c.xlm.embed(c.texts(), c.langs, layer=[1, -1], truncate_dim=10)),
        lambda vector: {"embedding": vector.tolist()},
    ),
    "embed each window": Case(
        {"feature-extraction": {"windows": "each", "pooling": "max"}},
        lambda c: c.xlm.embed(c.texts(), c.langs, windows="each", pooling="max"),
        lambda vectors: {"embeddings": vectors.tolist()},
    ),
    "embed pairs": Case(
        {"feature-extraction": {"normalize": False}},
        lambda c: list(c.xlm.embed(c.texts(), c.langs, pairs=c.texts("other"), normalize=False)),
        lambda vector: {"embedding": vector.tolist()},
        text=["text", "other"],
    ),
    "classify": Case(
        {"text-classification": {"head": "topic", "top_k": 2, "scores": True}},
        lambda c: c.xlm.classify(c.texts(), c.langs, head=c.heads / "topic", top_k=2),
        lambda found: {
            "label": found.label,
            "score": found.score,
            "top": labels(found),
            "scores": found.scores.tolist(),
        },
    ),
    "classify, several labels": Case(
        {"text-classification": {"head": "several", "problem": "multi-label", "threshold": 0.3}},
        lambda c: c.xlm.classify(c.texts(), c.langs, head=c.heads / "several", threshold=0.3),
        lambda found: {"labels": labels(found)},
    ),
    "classify, regression": Case(
        {"text-classification": {"head": "values", "problem": "regression"}},
        lambda c: c.xlm.classify(c.texts(), c.langs, head=c.heads / "values"),
        lambda found: {"values": found.scores.tolist()},
    ),
    "tag words": Case(
        {"token-classification": {"head": "tags", "pieces": "mean"}},
        lambda c: c.xlm.tag(c.texts(), c.langs, head=c.heads / "tags", pieces="mean"),
        lambda spans: {"words": [asdict(span) for span in spans]},
    ),
    "tag given words": Case(
        {"token-classification": {"head": "tags"}},
        lambda c: c.xlm.tag(c.texts("words"), c.langs, head=c.heads / "tags"),
        lambda spans: {"words": [asdict(span) for span in spans]},
        text="words",
    ),
    "tag entities": Case(
        {"token-classification": {"head": "tags", "aggregate": "entity"}},
        lambda c: c.xlm.tag(c.texts(), c.langs, head=c.heads / "tags", aggregate="entity"),
        lambda spans: {"entities": [asdict(span) for span in spans]},
    ),
    **{
        f"answer with {head}": Case(
            {"question-answering": {"head": head, "top_k": 3}},
            lambda c, head=head: c.xlm.answer(c.texts(), c.texts("other"), c.langs, head=c.heads / head, top_k=3),
            lambda found: {
                "answers": [asdict(answer) for answer in found.answers],
                "no_answer_score": found.no_answer_score,
            },
            text=["text", "other"],
        )
        for head in ("spans", "beams")
    },
    "choose": Case(
        {"multiple-choice": {"head": "choice"}},
        lambda c: c.xlm.choose(
            c.texts(), [[row["other"], row["marked"]] for row in c.rows], c.langs, head=c.heads / "choice"
        ),
        lambda found: {"choice": found.choice, "scores": found.scores.tolist()},
        text=["text", "other", "marked"],
        windows=False,
    ),
    "fill": Case(
        {"fill-mask": {"mask": "*", "top_k": 3}},
        lambda c: c.xlm.fill(c.texts("marked"), c.langs, mask="*", top_k=3),
        lambda masks: {"fills": [[asdict(fill) for fill in fills] for fills in masks]},
        text="marked",
    ),
    "score, masked": Case({"lm-scoring": {}}, lambda c: c.xlm.score(c.texts(), c.langs), lambda found: asdict(found)),
    "score, causal": Case(
        {"lm-scoring": {}},
        lambda c: c.xlm.score(c.texts(), c.langs),
        lambda found: asdict(found),
        causal=True,
    ),
    "generate": Case(
        {"text-generation": {"max_new_tokens": 6, "sample": True, "seed": 3}},
        lambda c: c.xlm.generate(c.texts(), c.langs, max_new_tokens=6, sample=True, seed=3),
        lambda text: {"generated": text},
        windows=False,
        causal=True,
    ),
}


@pytest.fixture
def job_rows(run_rows, checkpoints):
    """Return a function that runs a case as a job with some settings, and returns its rows by id."""

    def run(case: Case, rows: list[Row], **settings: Any) -> dict[str, Row]:
        (kind, options), *_ = case.task.items()
        if "head" in options:
            options = options | {"head": str(checkpoints / "heads" / options["head"])}
        model = {"objective": "causal"} if case.causal else {}
        return run_rows(rows, [{kind: options}], case.text, model=model, **settings)

    return run


@pytest.fixture(scope="module")
def library_rows(rows) -> list[Row]:
    return [
        row | {"other": rows[i - 1]["text"] * 2, "words": row["text"].split(" "), "marked": f"{row['text'][:60]} * *"}
        for i, row in enumerate(rows)
    ]


def load(checkpoints: Path, case: Case, **options: Any) -> XLM:
    objective = "causal" if case.causal else "checkpoint"
    return XLM.from_pretrained(checkpoints / "lm", objective=objective, ja="fugashi", **options)


def assert_equal(case: Case, call: Call, by_id: dict[str, Row]) -> None:
    results = case.call(call)
    assert len(results) == len(call.rows)
    for row, result in zip(call.rows, results, strict=True):
        columns = case.columns(result)
        assert columns == {name: by_id[row["id"]][name] for name in columns}


def test_every_task_is_compared():
    assert {next(iter(case.task)) for case in CASES.values()} == {*TASKS}


@pytest.mark.parametrize("name", CASES)
def test_a_call_gives_the_numbers_of_a_job(job_rows, checkpoints, library_rows, name):
    """The forward passes are the same, so the results are the same to the last bit. Some rows are identical."""
    case, max_length = CASES[name], 100
    by_id = job_rows(case, library_rows, tokenizer__max_length=max_length, batch__max_tokens=800)
    xlm = load(checkpoints, case, max_length=max_length, max_tokens=800)
    assert_equal(case, Call(xlm, library_rows, checkpoints / "heads"), by_id)


@pytest.mark.parametrize("name", CASES)
def test_invariant_results_do_not_depend_on_order_and_batches(job_rows, checkpoints, library_rows, name):
    """Long texts are split into windows by tasks that can merge them."""
    case, rows = CASES[name], library_rows[::3]
    max_length = 30 if isinstance(case.text, str) else 70
    on_overflow = "window" if case.windows else "truncate"
    tokenizer = {"max_length": max_length, "on_overflow": on_overflow, "overlap_tokens": 3, "ja": "fugashi"}
    by_id = job_rows(case, rows, tokenizer=tokenizer, batch={"invariant": True}, output__rows_per_shard=5)
    xlm = load(checkpoints, case, max_length=max_length, on_overflow=on_overflow, overlap_tokens=3, invariant=True)
    assert_equal(case, Call(xlm, rows[::-1], checkpoints / "heads"), by_id)
