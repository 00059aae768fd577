# ruff: noqa: E501 - a row of results stands on one line here, as its reader gets it
"""`xlm show`: results in lines that a person can read, whatever is in them."""

import io
import json
from collections import Counter

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.cells import cell_len
from rich.console import Console

from jobs.commands.show import show
from pipelines.corpus.planned_shard import PLAN
from pipelines.job import job
from pipelines.output.directory import Output
from pipelines.output.layout import part_name
from pipelines.rows.rejection import REJECTED
from pipelines.rows.schemas import ROW
from pipelines.rows.shard import Shard
from pipelines.rows.shard_stats import LangCounts, ShardStats
from pipelines.stages.write import Writer
from pipelines.storage import locate
from pipelines.tasks.feature_extraction import Embedding
from pipelines.tasks.language_model import Generation, MaskFilling, Scoring
from pipelines.tasks.multiple_choice import Choice
from pipelines.tasks.question_answering import Answering
from pipelines.tasks.text_classification import Classification
from pipelines.tasks.token_classification import Tagging
from xlm_core import XLMConfig
from xlm_core.errors import FatalError

SPAN = pa.struct(
    [
        pa.field("label", pa.string(), nullable=False),
        pa.field("score", pa.float32(), nullable=False),
        pa.field("start", pa.int32(), nullable=False),
        pa.field("end", pa.int32(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
    ]
)
TOP = pa.struct([pa.field("label", pa.string(), nullable=False), pa.field("score", pa.float32(), nullable=False)])
TOPICS = {"labels": json.dumps(["sport", "[red]news[/]", "c", "d", "e", "f", "g"])}
TAGS = {"labels": json.dumps(["DET", "NOUN"]), "offsets": "characters, end exclusive"}
SCHEMA = pa.schema(
    [
        pa.field("doc_id", pa.string()),
        pa.field("lang", pa.string()),
        pa.field("title", pa.string()),
        pa.field("embedding", pa.list_(pa.float32(), 8), metadata={"pooling": "mean", "normalized": "true"}),
        pa.field("topic_label", pa.string(), metadata=TOPICS),
        pa.field("topic_score", pa.float32(), metadata=TOPICS),
        pa.field("topic_top", pa.list_(TOP), metadata=TOPICS),
        pa.field("words", pa.list_(SPAN), metadata=TAGS),
        pa.field("ner_entities", pa.list_(SPAN), metadata=TAGS),
    ]
)
TEXTS = {"de": "Der Hund", "ar": "الكلب كبير", "ja": "犬 大きい"}


def span(label, text, score=0.984):
    return {"label": label, "score": score, "start": 0, "end": len(text), "text": text}


def row(i, lang, **changed):
    values = {
        ROW: i,
        "doc_id": f"{lang}-{i}",
        "lang": lang,
        "title": f"{TEXTS.get(lang, 'text')} {i}",
        "embedding": [0.6, -0.8, 0, 0, 0, 0, 0, 0],
        "topic_label": "[red]news[/]",
        "topic_score": 0.876,
        "topic_top": [{"label": "sport", "score": 0.5}],
        "words": [span("DET" if w in "Der" else "NOUN", w) for w in TEXTS.get(lang, "text").split()],
        "ner_entities": [span("LOC", "Berlin")],
    }
    return values | changed


class Results:
    """A results dataset, written by the parts that write real ones."""

    def __init__(self, url, *, keep=("lang", "title"), planned=2, schema=SCHEMA):
        self.output = Output(locate(str(url)))
        self.url, self.keep = str(url), list(keep)
        spec = {"name": "t", "input": {"id": "doc_id", "keep": self.keep}}
        plan = [dict.fromkeys(PLAN.names, 0) | {"shard": str(i), "file": "f"} for i in range(planned)]
        self.output.begin({"spec": spec, "fingerprint": {}}, pa.Table.from_pylist(plan, PLAN))
        self.schema = pa.schema([f for f in schema if f.name not in ("lang", "title") or f.name in self.keep])

    def add(self, shard, rows, rejected=(), *, truncated=0):
        num_rows = Counter(entry["lang"] for entry in rows)
        batch = pa.RecordBatch.from_pylist(rows, pa.schema([*self.schema, pa.field(ROW, pa.int64())]))
        stats = ShardStats(
            file=f"/corpus/2024/news/{shard}.parquet",
            rows_read=len(rows) + len(rejected),
            rows_in=len(rows) + len(rejected),
            rows_truncated=truncated,
            langs=tuple(LangCounts(lang, rows, 10 * rows, 0, 0) for lang, rows in num_rows.items()),
            precision="float32",
        )
        gone = pa.RecordBatch.from_pylist([{"detail": "", **r} for r in rejected], REJECTED)
        writer = Writer(output=self.output.location, schema=self.schema, id_column="doc_id")
        self.output.ledger.append([writer.write(Shard(shard_of(shard), batch, stats, gone))])

    def show(self, limit=10, **console):
        return shown(self.url, limit, **console)


def shard_of(letter):
    return f"{ord(letter):016x}-00000-000000000"


def shown(url, limit=10, **console):
    file = io.StringIO()
    show(url, limit, Console(file=file, **({"width": 100} | console)))
    return file.getvalue()


@pytest.fixture
def results(tmp_path):
    made = Results(tmp_path / "out")
    made.add(
        "a",
        [row(i, "de") for i in range(30)] + [row(30, "ar")],
        [{"row": 31 + i, "id": None if i else "x-1", "reason": "empty_text"} for i in range(7)],
        truncated=3,
    )
    made.add("b", [row(i, "ja") for i in range(5)], [{"row": 9, "id": "x-9", "reason": "unknown_lang"}])
    return made


def test_the_headline_tells_how_far_it_is(results):
    text = results.show()
    assert "incomplete" in text
    assert "44 rows in = 36 out + 8 rejected; 3 truncated; 2 of 2 shards" in text
    results.output.finish({}, "", success=True)
    assert "incomplete" not in results.show()
    assert "complete" in results.show()


def test_results_stand_readable_beside_what_was_kept(results):
    lines = [" ".join(line.split()) for line in results.show().splitlines()]
    for line in (
        "doc_id de-0",
        "title Der Hund 0",
        "embedding [0.60, −0.80, 0.00, 0.00, 0.00, 0.00, … ] D=8 ‖v‖=1.00",
        "topic_label [red]news[/] 0.88",
        "topic_top sport 0.50",
        "words Der/DET Hund/NOUN",
        "words الكلب/NOUN كبير/NOUN",
        "words 犬/NOUN 大きい/NOUN",
        "ner_entities Berlin (LOC 0.98)",
    ):
        assert line in lines, line


def test_the_columns_are_told_with_type_and_labels(results):
    lines = [" ".join(line.split()) for line in results.show().splitlines()]
    for line in (
        "doc_id string id",
        "title string kept",
        "embedding float32[8] pooling mean, normalized true",
        "topic_label string 7 labels: sport, [red]news[/], c, d, e, f, …",
        "words list<{label, score, start, end, text}> 2 labels: DET, NOUN",
    ):
        assert line in lines, line


def label(name, score):
    return {"label": name, "score": score}


def token(name, score):
    return {"token": name, "score": score}


def answer(text, score, start):
    return {"text": text, "score": score, "start": start, "end": start + len(text)}


CONFIG = XLMConfig.from_dict({"vocab_size": 9, "emb_dim": 12, "n_layers": 1, "n_heads": 2})
CAUSAL = CONFIG.with_objective("causal")
TONES = XLMConfig.from_dict({"emb_dim": 12, "n_heads": 2, "id2label": {0: "joy", 1: "fear"}})
LENGTH = XLMConfig.from_dict({"emb_dim": 12, "n_heads": 2, "id2label": {0: "length"}})
ANSWERS = Answering(job.QuestionAnswering(), CONFIG, TONES, pa.field("body", pa.string()), beam=False).fields
SCORING = Scoring(job.LmScoring(name="lm"), CAUSAL, CAUSAL).fields
FILLS = MaskFilling(job.FillMask(), CONFIG, CONFIG).fields
COUNTED = job.OutputSettings(path="out", token_counts=True)
SOME_WORDS = pa.field("words", pa.list_(pa.string()))


def embedding(**settings):
    return Embedding(job.FeatureExtraction(**settings), CONFIG).fields


def classification(head, **settings):
    return Classification(job.TextClassification(**settings), CONFIG, head).fields


@pytest.mark.parametrize(
    ("fields", "values", "lines"),
    [
        (embedding(dtype="float16"), [[-1.5] + [0.5] * 11], ["embedding [−1.50, 0.50, 0.50, 0.50, 0.50, 0.50, … ] D=12 ‖v‖=2.24"]),
        (embedding(dtype="binary"), [[0xE4, 0x09]], ["embedding [e4 09] 2 bytes"]),
        (embedding(windows="each"), [[[0.6] + [0.0] * 11, [0.1] * 12]], ["embeddings 2 vectors: [0.60, 0.00, 0.00, 0.00, 0.00, 0.00, … ] D=12 ‖v‖=0.60"]),
        (embedding(windows="each", truncate_dim=2), [[[-3.0, 4.0]]], ["embeddings 1 vector: [−3.00, 4.00] D=2 ‖v‖=5.00"]),
        (embedding(windows="each", dtype="binary", name="b"), [[[1, 2], [3, 4], [5, 6]]], ["b_embeddings 3 vectors: [01 02] 2 bytes"]),
        (classification(TONES, scores=True), ["joy", 0.876, [0.876, 0.124]], ["label joy 0.88", "scores [0.88, 0.12]"]),
        (classification(TONES, problem="multi-label"), [[label("fear", 0.98), label("joy", 0.5)]], ["labels fear 0.98, joy 0.50"]),
        (classification(TONES, problem="multi-label", name="t"), [[]], ["t_labels none"]),
        (classification(LENGTH, problem="regression"), [[-12.3456]], ["values [−12.35]"]),
        (ANSWERS, [[answer("Berlin", 0.87, 12)], 0.05], ["answers Berlin 0.87 [12:18] (no answer 0.05)"]),
        (ANSWERS, [[answer("a 1", 0.5, 0), answer("the\nothers " * 5, 0.2, 7)], 0.3], ["answers a 1 0.50 [0:3] (no answer 0.30); the others the others the oth… 0.20 [7:62]"]),
        (ANSWERS, [[], 0.951], ["answers none (no answer 0.95)"]),
        (Choice(job.MultipleChoice(name="copa"), CONFIG, CONFIG).fields, [1, [0.2, 0.7, 0.1]], ["copa_choice 1 0.70 of [0.20, 0.70, 0.10]"]),
        (FILLS, [[[token("cat", 0.31), token("dog", 0.12)], [token("犬", 0.9)]]], ["fills cat 0.31, dog 0.12 | 犬 0.90"]),
        (FILLS, [[]], ["fills none"]),
        (SCORING, [1234, -5432.1098, 81.589], ["lm_num_tokens 1,234", "lm_log_likelihood −5,432.11", "lm_perplexity 81.59"]),
        (SCORING, [0, 0.0, float("nan")], ["lm_num_tokens 0", "lm_log_likelihood 0.00", "lm_perplexity nan"]),
        (SCORING, [1, -99.0, 9.8765e42], ["lm_num_tokens 1", "lm_log_likelihood −99.00", "lm_perplexity 9.88e+42"]),
        (Generation(job.TextGeneration(), CAUSAL, CAUSAL).fields, ["and then\x1b[31m\nit"], ["generated and then�[31m it"]),
        (Tagging(job.TokenClassification(), CONFIG, TONES, SOME_WORDS).fields, [[span("joy", "Der"), span(None, "", None), span(None, "Hund", None)]], ["words Der/joy /null Hund/null"]),
        ([pa.field(name, pa.int32()) for name in COUNTED.count_columns], [1200, 688, 3], ["num_tokens 1,200", "num_truncated 688", "num_unknown 3"]),
    ],
)  # fmt: skip
def test_the_results_of_every_task_are_readable(tmp_path, fields, values, lines):
    names = [field.name for field in fields]
    made = Results(tmp_path / "out", keep=[], schema=[SCHEMA.field("doc_id"), *fields])
    made.add("a", [{ROW: 0, "doc_id": "x-1", "lang": "de", **dict(zip(names, values, strict=True))}])
    text = made.show(width=120)
    assert [" ".join(line.split()) for line in text[text.index("doc_id x-1") :].splitlines()[1:]] == lines


def test_int8_is_shown_as_steps_and_its_ranges_not_at_all(tmp_path):
    vectors = pa.array([[0.0] * 12, [1.0] * 12], pa.list_(pa.float32(), 12))
    (sample,) = embedding()
    pq.write_table(pa.table([vectors], schema=pa.schema([sample.with_nullable(True)])), tmp_path / "s.parquet")
    (field,) = embedding(dtype="int8", calibration=str(tmp_path / "s.parquet"))
    made = Results(tmp_path / "out", keep=[], schema=[SCHEMA.field("doc_id"), field])
    made.add("a", [{ROW: 0, "doc_id": "x", "lang": "de", "embedding": [-128, 127] + [7] * 10}])
    lines = [" ".join(line.split()) for line in made.show(width=300).splitlines()]
    assert "embedding [−128, 127, 7, 7, 7, 7, … ] D=12" in lines
    assert (
        "embedding int8[12] pooling mean, normalized true, layers [-1], dim 12, int8 round((x - low) / (high - low) * 255 - 128)"
        in lines
    )


def test_the_columns_of_every_task_are_told_with_their_types(tmp_path):
    fields = [*embedding(windows="each"), *classification(TONES, problem="multi-label"), *ANSWERS, *FILLS, *SCORING]
    made = Results(tmp_path / "out", keep=[], schema=[SCHEMA.field("doc_id"), *fields])
    made.add("a", [])
    lines = [" ".join(line.split()) for line in made.show(width=200).splitlines()]
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


def test_rows_are_spread_over_languages(results):
    ids = [line.split()[1] for line in results.show(7).splitlines() if line.startswith("doc_id ") and "-" in line]
    assert ids == ["de-0", "de-1", "de-2", "ja-0", "ja-1", "ja-2", "ar-30"]


def test_without_a_language_column_the_first_rows_are_shown(tmp_path):
    made = Results(tmp_path / "out", keep=["title"])
    made.add("a", [row(i, "de") for i in range(4)])
    made.add("b", [row(i, "ja") for i in range(4)])
    ids = [line.split()[1] for line in made.show(6).splitlines() if line.startswith("doc_id ") and "-" in line]
    assert ids == ["de-0", "de-1", "de-2", "de-3", "ja-0", "ja-1"]


@pytest.mark.parametrize("limit", [0, 1, 1000])
def test_any_limit_will_do(results, limit):
    count = sum(line.startswith("doc_id ") and "-" in line for line in results.show(limit).splitlines())
    assert count == min(limit, 36)


def test_rejected_rows_are_counted_with_up_to_five_examples(results):
    text = results.show(0)
    lines = [" ".join(line.split()) for line in text[text.index("rejected  ") :].splitlines()]
    assert lines[1:] == [
        "empty_text 7 31 x-1 …/news/a.parquet",
        *(f"{i} …/news/a.parquet" for i in range(32, 36)),
        "unknown_lang 1 9 x-9 …/news/b.parquet",
    ]


@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.parametrize("width", [40, 100])
def test_no_line_is_broken_or_too_long_on_a_terminal(tmp_path, terminal, width):
    made = Results(tmp_path / "out")
    for i, lang in enumerate(["de", "ar", "ja"]):
        made.add(str(i), [row(0, lang, title=TEXTS[lang] * 100, words=[span("NOUN", TEXTS[lang])] * 300)])
    text = made.show(width=width, force_terminal=terminal, color_system=None)
    most = width if terminal else 100
    assert max(cell_len(line) for line in text.splitlines()) <= most
    assert sum(line.lstrip().startswith(("title ", "words ")) for line in text.splitlines()) == 8
    assert "…" in text


def test_plain_output_has_no_colours_and_a_terminal_has(results):
    assert "\x1b" not in results.show()
    assert "\x1b[" in results.show(force_terminal=True, color_system="standard")


def test_data_cannot_command_the_terminal(tmp_path):
    made = Results(tmp_path / "out")
    title = "a\x1b[31mred\r\n\u2028next\u202e :smile: [bold]x[/bold] [/]"
    made.add(
        "a", [row(0, "de", title=title, doc_id="i\x07d")], [{"row": 1, "id": "\x1b]0;x\x07", "reason": "empty_text"}]
    )
    text = made.show()
    assert not {"\x1b", "\r", "\x07", "\u202e", "\u2028"} & set(text)
    assert "a�[31mred next :smile: [bold]x[/bold] [/]" in text


def test_nulls_bad_bytes_and_empty_results_are_shown(tmp_path):
    made = Results(tmp_path / "out")
    made.add("a", [row(0, "de", title=None, words=[], ner_entities=[])])
    part = made.output.location / part_name(shard_of("a"))
    table = pq.read_table(part.path)
    bad = pa.array([b"caf\xe9"]).view(pa.string())
    pq.write_table(table.set_column(1, table.schema.field("lang"), bad), part.path)
    lines = [" ".join(line.split()) for line in made.show().splitlines()]
    assert {"title null", "words none", "ner_entities none", r"lang caf\xe9"} <= set(lines)


def test_kept_columns_of_any_type_are_shown(tmp_path):
    kept = {
        "tokens": (pa.array([["Der", None, "Hund"]]), "['Der', None, 'Hund']"),
        "broken": (pa.array([[b"caf\xe9"]]).cast(pa.list_(pa.binary())).view(pa.list_(pa.string())), "cannot be shown"),
        "point": (pa.array([{"x": 1.5, "y": None}]), "{'x': 1.5, 'y': None}"),
        "raw": (pa.array([b"123"]), "3 bytes"),
    }
    schema = [SCHEMA.field("doc_id"), *(pa.field(name, column.type) for name, (column, _) in kept.items())]
    made = Results(tmp_path / "out", keep=list(kept), schema=schema)
    made.add("a", [{ROW: 0, "doc_id": "x", "lang": "de"}])
    part = made.output.location / part_name(shard_of("a"))
    pq.write_table(pa.table([["x"], *(column for column, _ in kept.values())], schema=made.schema), part.path)
    lines = [" ".join(line.split()) for line in made.show().splitlines()]
    assert {f"{name} {shown}" for name, (_, shown) in kept.items()} <= set(lines)


def test_a_shard_without_rows_left_is_no_obstacle(tmp_path):
    made = Results(tmp_path / "out")
    made.add("a", [], [{"row": 0, "id": None, "reason": "null_text"}])
    assert "1 row in = 0 out + 1 rejected" in made.show()


def test_any_location_will_do():
    made = Results("memory://show/out")
    made.add("a", [row(0, "de")])
    assert "doc_id de-0" in made.show()


def test_what_cannot_be_shown_is_one_line(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    (tmp_path / "corpus").mkdir()
    pq.write_table(pa.table({"a": [1]}), tmp_path / "corpus" / "part-0.parquet")
    Results(tmp_path / "new")
    gone, damaged = Results(tmp_path / "gone"), Results(tmp_path / "damaged")
    for made in (gone, damaged):
        made.add("a", [row(0, "de")])
    (gone.output.location / part_name(shard_of("a"))).delete()
    (damaged.output.location / part_name(shard_of("a"))).put(b"PAR1 no")
    for name, reason in {
        "nowhere": "no such directory",
        "file": "not the output of a job",
        "empty": "not the output of a job",
        "corpus": "not the output of a job",
        "new": "no results yet",
        "gone": "gone, though the ledger has it",
        "damaged": "damaged",
    }.items():
        with pytest.raises(FatalError, match=reason) as caught:
            shown(str(tmp_path / name))
        assert str(tmp_path / name) in str(caught.value)
        assert "\n" not in str(caught.value)
