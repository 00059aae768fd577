"""What does not fit between an output and gold labels is said, with numbers, an example and the next step."""

import shutil

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.errors import FatalError
from pipelines.evaluation import GoldOptions, evaluate, read_scored_output
from pipelines.results import list_of
from tests.pipelines.evaluation.outputs import (
    SPAN,
    evaluate_files,
    labelled,
    metrics,
    write_gold,
    write_output,
)

LABEL = [labelled("label", pa.string(), ["a", "b"]), pa.field("score", pa.float32())]
GOLD = [{"id": str(i), "label": "ab"[i % 2]} for i in range(10)]


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    rows = [{"id": str(i), "lang": "de", "label": "a", "score": 0.5} for i in range(10)]
    return write_output(tmp_path_factory.mktemp("out"), "text-classification", rows, LABEL, rows_per_part=4)


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        ([{"key": "0", "label": "a"}], {}, "no column id; name another one with --id; it has key, label"),
        ([{"Id": "0", "label": "a"}], {}, "no column id; name another one with --id; did you mean Id?"),
        ([*GOLD, GOLD[3], GOLD[3]], {}, "id is not unique: 1 repeated id, such as 3"),
        ([*GOLD, {"id": None, "label": "a"}], {}, "id is null in 1 row"),
        ([*GOLD[:8], {"id": "8", "label": None}, GOLD[9]], {}, "label is null in 1 row, such as 8"),
        (
            [*GOLD[:9], {"id": "9", "label": "c"}],
            {},
            r"1 label that the head does not have: c \(1\); its labels",
        ),
        (GOLD[:8], {}, "2 rows without a gold label, such as 8; select gold labels with --filter, or use"),
        ([*GOLD, {"id": "x", "label": "a"}], {}, "1 gold label without a row in the output, such as x"),
        ([{"id": "x", "label": "a"}], {}, r"have no common ids \(id\); name the column with --id"),
        ([{"id": "0", "label": 0.5}], {"column": "label"}, "label is double; expected labels"),
        (GOLD, {"column": "labell"}, "no column labell; name another one with --gold-column; did you mean label?"),
        ([{"id": "0", "x": "a", "y": "b"}], {}, "which column has the gold labels.*it has id, x, y"),
        (GOLD, {"where": "label == 'c'"}, "has no rows that match --filter"),
        (GOLD, {"where": "lable == 'c'"}, "filter: .*lable"),
    ],
)
def test_gold_labels_that_do_not_fit(rows, options, message, out, tmp_path):
    with pytest.raises(FatalError, match=message) as raised:
        evaluate_files(out, write_gold(tmp_path, rows), **options)
    assert "\n" not in str(raised.value)


def test_labels_that_are_not_utf8(out, tmp_path):
    labels = pa.array([b"\xe9"], pa.binary()).view(pa.string())
    pq.write_table(pa.table({"id": ["0"], "label": labels}), tmp_path / "gold.parquet")
    with pytest.raises(FatalError, match="label contains text that is not UTF-8"):
        evaluate_files(out, str(tmp_path / "gold.parquet"))


def test_missing_rows_and_labels_are_left_out_if_this_is_allowed(out, tmp_path):
    found = evaluate_files(out, write_gold(tmp_path, [*GOLD[2:], {"id": "x", "label": "a"}]), allow_missing=True)
    assert found.scored.coverage.describe() == (
        "1 gold label without a row in the output, such as x; 2 rows without a gold label, such as 0"
    )
    assert (found.total.rows, metrics(found)["accuracy"]) == (8, 0.5)
    unknown = evaluate_files(out, write_gold(tmp_path, [*GOLD[:9], {"id": "9", "label": "c"}]), allow_missing=True)
    assert metrics(unknown)["accuracy"] == 0.5
    assert unknown.confusion.labels == ["a", "b", "c"]


def test_rejected_rows_are_explained(tmp_path):
    rows = [{"id": "0", "lang": "de", "label": "a", "score": 0.5}]
    rejected = [{"file": "f", "row": 1, "id": "1", "lang": "de", "reason": "empty_text", "detail": "empty"}]
    out = write_output(tmp_path, "text-classification", rows, LABEL, rejected=rejected)
    with pytest.raises(FatalError, match=r"such as 1 \(rejected: empty_text 1\)"):
        evaluate_files(out, write_gold(tmp_path, GOLD[:2]))


def test_a_filter_selects_gold_labels_of_all_files(out, tmp_path):
    folder = tmp_path / "gold"
    folder.mkdir()
    rows = [row | {"split": "test"} for row in GOLD] + [row | {"split": "train"} for row in GOLD]
    for i in range(0, 20, 5):
        shutil.move(write_gold(tmp_path, rows[i : i + 5]), folder)
    found = evaluate_files(out, str(folder), where="split == 'test'")
    assert found.total == evaluate_files(out, write_gold(tmp_path, GOLD)).total


def test_gold_labels_in_a_store(out, tmp_path):
    expected = evaluate_files(out, write_gold(tmp_path, GOLD)).total
    store = fsspec.filesystem("memory")
    for i in (0, 5):
        store.put(write_gold(tmp_path, GOLD[i : i + 5]), f"/gold-in-a-store/{i}.parquet")
    assert evaluate_files(out, "memory://gold-in-a-store").total == expected
    assert evaluate_files(out, "memory://gold-in-a-store/*.parquet").total == expected


def test_integer_ids_and_another_name(out, tmp_path):
    gold = write_gold(tmp_path, [{"number": int(row["id"]), "label": row["label"]} for row in GOLD])
    assert evaluate_files(out, gold, id_columns=["number"]).total.rows == 10


def test_repeated_ids_of_an_output_are_refused(tmp_path):
    rows = [{"id": str(i % 3), "lang": "de", "label": "a", "score": 0.5} for i in range(4)]
    gold = write_gold(tmp_path, GOLD[:3])
    for size in (2, 4):
        out = write_output(tmp_path, "text-classification", rows, LABEL, rows_per_part=size)
        with pytest.raises(FatalError, match="several rows have the id 0"):
            evaluate_files(out, gold)


def test_languages_come_from_the_gold_labels_if_the_output_has_none(tmp_path):
    rows = [{"id": str(i), "label": "a", "score": 0.5} for i in range(10)]
    out = write_output(tmp_path, "text-classification", rows, LABEL, keep_lang=False)
    assert evaluate_files(out, write_gold(tmp_path, GOLD)).langs == {}
    gold = write_gold(tmp_path, [row | {"lang": "de" if row["id"] < "6" else None} for row in GOLD])
    found = evaluate_files(out, gold)
    assert {lang: scores.rows for lang, scores in found.langs.items()} == {"de": 6, "und": 4}
    renamed = write_gold(tmp_path, [row | {"code": "fr"} for row in GOLD])
    assert set(evaluate_files(out, renamed, lang_column="code").langs) == {"fr"}


def test_languages_of_the_gold_labels_replace_those_of_the_output(out, tmp_path):
    """As after a job that detected them."""
    gold = write_gold(tmp_path, [row | {"lang": "fr"} for row in GOLD])
    assert set(evaluate_files(out, gold).langs) == {"de"}
    assert set(evaluate_files(out, gold, lang_column="lang").langs) == {"fr"}


def words(*texts):
    return [{"label": "X", "score": 0.5, "start": 0, "end": 1, "text": text} for text in texts]


@pytest.mark.parametrize(
    ("gold", "message"),
    [
        (
            {"upos": ["X", "X", "X"]},
            r"1 row .* has another number of words .*\(a: 2 words and 3 gold labels\)",
        ),
        ({"upos": ["X", "X"], "tokens": ["ein", "Huhn"]}, r"1 row of the output has other words .*\(a: word 2 is"),
        ({"upos": ["X", None]}, "upos is null in 1 row, such as a"),
        ({"upos": "X"}, "which column has the gold labels"),
    ],
)
def test_gold_labels_that_do_not_fit_the_words(gold, message, tmp_path):
    rows = [{"id": "a", "lang": "de", "words": words("ein", "Hund")}]
    out = write_output(tmp_path, "token-classification", rows, [labelled("words", SPAN, ["X"])])
    with pytest.raises(FatalError, match=message) as raised:
        evaluate_files(out, write_gold(tmp_path, [{"id": "a"} | gold]))
    assert "Hund" not in str(raised.value)
    assert "Huhn" not in str(raised.value)


def test_a_task_is_chosen_by_a_column(tmp_path):
    rows = [{"id": "0", "lang": "de", "label": "a", "score": 0.5, "b_label": "b", "b_score": 0.5, "fills": []}]
    fields = [*LABEL, labelled("b_label", pa.string(), ["a", "b"]), pa.field("b_score", pa.float32())]
    tasks = ["text-classification", {"text-classification": {"prefix": "b_"}}]
    out = write_output(tmp_path, tasks, rows, fields)
    gold = write_gold(tmp_path, [{"id": "0", "label": "b"}])
    assert metrics(evaluate(read_scored_output(out, GoldOptions(gold), "b_label")))["accuracy"] == 1
    with pytest.raises(FatalError, match=r"has several tasks with metrics; .* --column: label, b_label"):
        evaluate_files(out, gold)
    with pytest.raises(FatalError, match="c_label is not a result column with metrics; name one of label, b_label"):
        read_scored_output(out, GoldOptions(gold), "c_label")
    fills = write_output(tmp_path, "fill-mask", rows, [pa.field("fills", list_of(pa.float32()))])
    with pytest.raises(FatalError, match=r"there are no metrics for its tasks \(fill-mask\)"):
        evaluate_files(fills, gold)
