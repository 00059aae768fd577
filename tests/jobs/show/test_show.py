"""`xlm show`: the state of an output, and rows in readable lines, for any data."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.cells import cell_len

from pipelines.errors import FatalError
from pipelines.output.layout import part_name
from pipelines.rows.schemas import ROW
from tests.jobs.show.written_output import SCHEMA, TEXTS, WrittenOutput, make_row, shard_id, show_output, span


@pytest.fixture
def results(tmp_path):
    written = WrittenOutput(tmp_path / "out")
    written.add(
        "a",
        [make_row(i, "de") for i in range(30)] + [make_row(30, "ar")],
        [{"row": 31 + i, "id": None if i else "x-1", "reason": "empty_text"} for i in range(7)],
        truncated=3,
    )
    written.add("b", [make_row(i, "ja") for i in range(5)], [{"row": 9, "id": "x-9", "reason": "unknown_lang"}])
    return written


def test_first_lines_show_the_state_of_the_output(results):
    text = results.show()
    assert "incomplete" in text
    assert "44 rows in = 36 out + 8 rejected; 3 truncated; 2 of 2 shards" in text
    results.output.finish({}, "", success=True)
    assert "incomplete" not in results.show()
    assert "complete" in results.show()


def test_rows_show_kept_columns_and_results(results):
    lines = results.show_lines()
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


def test_columns_are_listed_with_type_and_labels(results):
    lines = results.show_lines()
    for line in (
        "doc_id string id",
        "title string kept",
        "embedding float32[8] pooling mean, normalized true",
        "topic_label string 7 labels: sport, [red]news[/], c, d, e, f, …",
        "words list<{label, score, start, end, text}> 2 labels: DET, NOUN",
    ):
        assert line in lines, line


def test_rows_of_all_languages_are_selected(results):
    ids = [line.split()[1] for line in results.show(7).splitlines() if line.startswith("doc_id ") and "-" in line]
    assert ids == ["de-0", "de-1", "de-2", "ja-0", "ja-1", "ja-2", "ar-30"]


def test_first_rows_are_selected_without_a_language_column(tmp_path):
    written = WrittenOutput(tmp_path / "out", keep=["title"])
    written.add("a", [make_row(i, "de") for i in range(4)])
    written.add("b", [make_row(i, "ja") for i in range(4)])
    ids = [line.split()[1] for line in written.show(6).splitlines() if line.startswith("doc_id ") and "-" in line]
    assert ids == ["de-0", "de-1", "de-2", "de-3", "ja-0", "ja-1"]


@pytest.mark.parametrize("limit", [0, 1, 1000])
def test_limit_is_the_most_rows_shown(results, limit):
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
def test_lines_are_cut_at_the_width_and_never_wrapped(tmp_path, terminal, width):
    written = WrittenOutput(tmp_path / "out")
    for i, lang in enumerate(["de", "ar", "ja"]):
        written.add(str(i), [make_row(0, lang, title=TEXTS[lang] * 100, words=[span("NOUN", TEXTS[lang])] * 300)])
    text = written.show(width=width, force_terminal=terminal, color_system=None)
    most = width if terminal else 100
    assert max(cell_len(line) for line in text.splitlines()) <= most
    assert sum(line.lstrip().startswith(("title ", "words ")) for line in text.splitlines()) == 8
    assert "…" in text


def test_colours_are_printed_on_terminals_only(results):
    assert "\x1b" not in results.show()
    assert "\x1b[" in results.show(force_terminal=True, color_system="standard")


def test_data_cannot_control_the_terminal(tmp_path):
    written = WrittenOutput(tmp_path / "out")
    title = "a\x1b[31mred\r\n\u2028next\u202e :smile: [bold]x[/bold] [/]"
    written.add(
        "a",
        [make_row(0, "de", title=title, doc_id="i\x07d")],
        [{"row": 1, "id": "\x1b]0;x\x07", "reason": "empty_text"}],
    )
    text = written.show()
    assert not {"\x1b", "\r", "\x07", "\u202e", "\u2028"} & set(text)
    assert "a�[31mred next :smile: [bold]x[/bold] [/]" in text


def test_nulls_invalid_utf8_and_empty_results_are_shown(tmp_path):
    written = WrittenOutput(tmp_path / "out")
    written.add("a", [make_row(0, "de", title=None, words=[], ner_entities=[])])
    part = written.output.parts / part_name(shard_id("a"))
    table = pq.read_table(part.path)
    bad = pa.array([b"caf\xe9"]).view(pa.string())
    pq.write_table(table.set_column(1, table.schema.field("lang"), bad), part.path)
    lines = written.show_lines()
    assert {"title null", "words none", "ner_entities none", r"lang caf\xe9"} <= set(lines)


def test_kept_columns_of_any_type_are_shown(tmp_path):
    kept = {
        "tokens": (pa.array([["Der", None, "Hund"]]), "['Der', None, 'Hund']"),
        "broken": (pa.array([[b"caf\xe9"]]).cast(pa.list_(pa.binary())).view(pa.list_(pa.string())), r"['caf\\xe9']"),
        "point": (pa.array([{"x": 1.5, "y": None}]), "{'x': 1.5, 'y': None}"),
        "raw": (pa.array([b"123"]), "3 bytes"),
    }
    schema = [SCHEMA.field("doc_id"), *(pa.field(name, column.type) for name, (column, _) in kept.items())]
    written = WrittenOutput(tmp_path / "out", keep=list(kept), schema=schema)
    written.add("a", [{ROW: 0, "doc_id": "x", "lang": "de"}])
    part = written.output.parts / part_name(shard_id("a"))
    pq.write_table(pa.table([["x"], *(column for column, _ in kept.values())], schema=written.schema), part.path)
    lines = written.show_lines()
    assert {f"{name} {shown}" for name, (_, shown) in kept.items()} <= set(lines)


def test_output_with_only_rejected_rows_is_shown(tmp_path):
    written = WrittenOutput(tmp_path / "out")
    written.add("a", [], [{"row": 0, "id": None, "reason": "null_text"}])
    assert "1 row in = 0 out + 1 rejected" in written.show()


def test_output_in_another_store_is_shown():
    written = WrittenOutput("memory://show/out")
    written.add("a", [make_row(0, "de")])
    assert "doc_id de-0" in written.show()


def test_unreadable_output_is_refused_in_one_line(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    (tmp_path / "corpus").mkdir()
    pq.write_table(pa.table({"a": [1]}), tmp_path / "corpus" / "part-0.parquet")
    WrittenOutput(tmp_path / "new")
    gone, damaged = WrittenOutput(tmp_path / "gone"), WrittenOutput(tmp_path / "damaged")
    for written in (gone, damaged):
        written.add("a", [make_row(0, "de")])
    (gone.output.parts / part_name(shard_id("a"))).delete()
    (damaged.output.parts / part_name(shard_id("a"))).put(b"PAR1 no")
    for name, reason in {
        "nowhere": "no such directory",
        "file": "not the output of a job",
        "empty": "not the output of a job",
        "corpus": "not the output of a job",
        "new": "no results yet",
        "gone": "missing, but the ledger has a record of it",
        "damaged": "damaged",
    }.items():
        with pytest.raises(FatalError, match=reason) as caught:
            show_output(str(tmp_path / name))
        assert str(tmp_path / name) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_labels_in_languages_that_the_head_was_not_trained_on_are_marked(tmp_path):
    german = SCHEMA.field("words").with_metadata(SCHEMA.field("words").metadata | {"trained_langs": '["de", "zh"]'})
    schema = SCHEMA.set(SCHEMA.get_field_index("words"), german)
    written = WrittenOutput(tmp_path / "out", num_planned=1, schema=schema)
    untrained = {"de": False, "de-AT": False, "ja": True, "yue": False, "und": False, "klingon": True}
    written.add("a", [make_row(i, code) for i, code in enumerate(untrained)])
    lines = written.show_lines()
    shown = [line for line in lines if line.startswith("words ") and "/" in line]
    assert [line.startswith("words (untrained language) ") for line in shown] == [*untrained.values()]
    assert "words (untrained language) 犬/NOUN 大きい/NOUN" in shown
    assert not any("untrained" in line for line in lines if not line.startswith("words "))
