# ruff: noqa: E501 - a case is on one line
"""`xlm show`: the results of every task, and what their columns mean."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.job.sections import OutputSettings
from pipelines.rows.schemas import ROW
from pipelines.tasks import (
    FeatureExtraction,
    FillMask,
    LmScoring,
    MultipleChoice,
    QuestionAnswering,
    TextClassification,
    TextGeneration,
    TokenClassification,
)
from pipelines.tasks.feature_extraction import FeatureExtractionTask
from pipelines.tasks.language_modeling.fill_mask import FillMaskTask
from pipelines.tasks.language_modeling.lm_scoring import LmScoringTask
from pipelines.tasks.language_modeling.text_generation import TextGenerationTask
from pipelines.tasks.multiple_choice import MultipleChoiceTask
from pipelines.tasks.question_answering import QuestionAnsweringTask
from pipelines.tasks.text_classification import TextClassificationTask
from pipelines.tasks.token_classification import TokenClassificationTask
from tests.jobs.show.written_output import SCHEMA, WrittenOutput, collapse_spaces, span
from xlm_core import XLMConfig

TRUNK = XLMConfig.from_dict({"vocab_size": 9, "emb_dim": 12, "n_layers": 1, "n_heads": 2})
CAUSAL = TRUNK.with_objective("causal")
TONES = XLMConfig.from_dict({"emb_dim": 12, "n_heads": 2, "id2label": {0: "joy", 1: "fear"}})
LENGTH = XLMConfig.from_dict({"emb_dim": 12, "n_heads": 2, "id2label": {0: "length"}})


def label(name, score):
    return {"label": name, "score": score}


def token(name, score):
    return {"token": name, "score": score}


def answer(text, score, start):
    return {"text": text, "score": score, "start": start, "end": start + len(text)}


def embedding(**settings):
    return FeatureExtractionTask(FeatureExtraction(**settings), TRUNK)


def classification(head, **settings):
    return TextClassificationTask(TextClassification(**settings), head)


ANSWERS = QuestionAnsweringTask(QuestionAnswering(), pa.field("body", pa.string()), uses_beams=False)
CHOICES = MultipleChoiceTask(MultipleChoice(prefix="copa_"))
SCORING = LmScoringTask(LmScoring(prefix="lm_"), CAUSAL)
FILLS = FillMaskTask(FillMask(), TRUNK)
GENERATION = TextGenerationTask(TextGeneration())
GIVEN_WORDS = TokenClassificationTask(TokenClassification(), TONES, pa.field("words", pa.list_(pa.string())))


@pytest.mark.parametrize(
    ("task", "values", "lines"),
    [
        (embedding(dtype="float16"), [[-1.5] + [0.5] * 11], ["embedding [−1.50, 0.50, 0.50, 0.50, 0.50, 0.50, … ] D=12 ‖v‖=2.24"]),
        (embedding(dtype="binary"), [[0xE4, 0x09]], ["embedding [e4 09] 2 bytes"]),
        (embedding(windows="each"), [[[0.6] + [0.0] * 11, [0.1] * 12]], ["embeddings 2 vectors: [0.60, 0.00, 0.00, 0.00, 0.00, 0.00, … ] D=12 ‖v‖=0.60"]),
        (embedding(windows="each", truncate_dim=2), [[[-3.0, 4.0]]], ["embeddings 1 vector: [−3.00, 4.00] D=2 ‖v‖=5.00"]),
        (embedding(windows="each", dtype="binary", prefix="b_"), [[[1, 2], [3, 4], [5, 6]]], ["b_embeddings 3 vectors: [01 02] 2 bytes"]),
        (classification(TONES, scores=True), ["joy", 0.876, [0.876, 0.124]], ["label joy 0.88", "scores [0.88, 0.12]"]),
        (classification(TONES, problem="multi-label"), [[label("fear", 0.98), label("joy", 0.5)]], ["labels fear 0.98, joy 0.50"]),
        (classification(TONES, problem="multi-label", prefix="t_"), [[]], ["t_labels none"]),
        (classification(LENGTH, problem="regression"), [[-12.3456]], ["values [−12.35]"]),
        (ANSWERS, [[answer("Berlin", 0.87, 12)], 0.05], ["answers Berlin 0.87 [12:18] (no answer 0.05)"]),
        (ANSWERS, [[answer("a 1", 0.5, 0), answer("the\nothers " * 5, 0.2, 7)], 0.3], ["answers a 1 0.50 [0:3] (no answer 0.30); the others the others the oth… 0.20 [7:62]"]),
        (ANSWERS, [[], 0.951], ["answers none (no answer 0.95)"]),
        (CHOICES, [1, [0.2, 0.7, 0.1]], ["copa_choice 1 0.70 of [0.20, 0.70, 0.10]"]),
        (FILLS, [[[token("cat", 0.31), token("dog", 0.12)], [token("犬", 0.9)]]], ["fills cat 0.31, dog 0.12 | 犬 0.90"]),
        (FILLS, [[]], ["fills none"]),
        (SCORING, [1234, -5432.1098, 81.589], ["lm_num_tokens 1,234", "lm_log_likelihood −5,432.11", "lm_perplexity 81.59"]),
        (SCORING, [0, 0.0, float("nan")], ["lm_num_tokens 0", "lm_log_likelihood 0.00", "lm_perplexity nan"]),
        (SCORING, [1, -99.0, 9.8765e42], ["lm_num_tokens 1", "lm_log_likelihood −99.00", "lm_perplexity 9.88e+42"]),
        (GENERATION, ["and then\x1b[31m\nit"], ["generated and then�[31m it"]),
        (GIVEN_WORDS, [[span("joy", "Der"), span(None, "", None), span(None, "Hund", None)]], ["words Der/joy /null Hund/null"]),
    ],
)  # fmt: skip
def test_results_of_every_task_are_readable(tmp_path, task, values, lines):
    tasks = [settings_of(task).model_dump(mode="json")]
    assert show_values(tmp_path, task.fields, values, tasks) == lines


def test_token_counts_are_readable(tmp_path):
    columns = OutputSettings(path="out", token_counts=True).count_columns
    fields = [pa.field(name, pa.int32()) for name in columns]
    lines = ["num_tokens 1,200", "num_truncated 688", "num_unknown 3"]
    assert show_values(tmp_path, fields, [1200, 688, 3], []) == lines


@pytest.mark.parametrize(
    ("task", "values", "lines"),
    [
        (embedding(dtype="binary"), [[0xE4, 0x09]], ["embedding [e4 09] 2 bytes"]),
        (embedding(windows="each", truncate_dim=2), [[[-3.0, 4.0]]], ["embeddings 1 vector: [−3.00, 4.00] D=2 ‖v‖=5.00"]),
        (classification(TONES, top_k=2), ["joy", 0.876, [label("joy", 0.876), label("fear", 0.1)]], ["label joy", "score 0.88", "top joy 0.88, fear 0.10"]),
        (ANSWERS, [[answer("Berlin", 0.87, 12)], 0.05], ["answers Berlin 0.87 12 18", "no_answer_score 0.05"]),
        (CHOICES, [1, [0.2, 0.7, 0.1]], ["copa_choice 1", "copa_scores [0.20, 0.70, 0.10]"]),
        (FILLS, [[[token("cat", 0.31), token("dog", 0.12)], [token("犬", 0.9)]]], ["fills cat 0.31, dog 0.12 | 犬 0.90"]),
    ],
)  # fmt: skip
def test_results_of_unknown_tasks_are_shown_by_their_types(tmp_path, task, values, lines):
    assert show_values(tmp_path, task.fields, values, [{"newer-task": {}}]) == lines


def settings_of(task):
    return getattr(task, "settings", None) or FillMask()


def show_values(tmp_path, fields, values, tasks):
    names = [field.name for field in fields]
    written = WrittenOutput(tmp_path / "out", keep=[], schema=[SCHEMA.field("doc_id"), *fields], tasks=tasks)
    written.add("a", [{ROW: 0, "doc_id": "x-1", "lang": "de", **dict(zip(names, values, strict=True))}])
    text = written.show(width=120)
    return collapse_spaces(text[text.index("doc_id x-1") :])[1:]


def test_int8_is_shown_as_steps_without_its_ranges(tmp_path):
    vectors = pa.array([[0.0] * 12, [1.0] * 12], pa.list_(pa.float32(), 12))
    (sample,) = embedding().fields
    pq.write_table(pa.table([vectors], schema=pa.schema([sample.with_nullable(True)])), tmp_path / "s.parquet")
    task = embedding(dtype="int8", calibration=str(tmp_path / "s.parquet"))
    schema, tasks = [SCHEMA.field("doc_id"), *task.fields], [task.settings.model_dump(mode="json")]
    written = WrittenOutput(tmp_path / "out", keep=[], schema=schema, tasks=tasks)
    written.add("a", [{ROW: 0, "doc_id": "x", "lang": "de", "embedding": [-128, 127] + [7] * 10}])
    lines = written.show_lines(width=300)
    assert "embedding [−128, 127, 7, 7, 7, 7, … ] D=12" in lines
    assert (
        "embedding int8[12] pooling mean, normalized true, layers [-1], dim 12, int8 round((x - low) / (high - low) * 255 - 128)"
        in lines
    )


def test_columns_of_every_task_are_described_by_type_and_metadata(tmp_path):
    tasks = [embedding(windows="each"), classification(TONES, problem="multi-label"), ANSWERS, FILLS, SCORING]
    fields = [field for task in tasks for field in task.fields]
    written = WrittenOutput(tmp_path / "out", keep=[], schema=[SCHEMA.field("doc_id"), *fields])
    written.add("a", [])
    lines = written.show_lines(width=200)
    for line in (
        "embeddings list<float32[12]> pooling mean, normalized true, layers [-1], dim 12",
        "labels list<{label, score}> 2 labels: joy, fear",
        "answers list<{text, score, start, end}> offsets characters of body, end exclusive",
        "no_answer_score float32",
        "fills list<list<{token, score}>> lists one for each mask that was not cut off, best token first",
        "lm_num_tokens int32 counts the tokens that are scored: the text's own",
        "lm_perplexity float64 objective causal",
    ):
        assert line in lines, line
