"""`xlm diff` prints tables that fit the terminal, and nothing in the data can control the terminal."""

import json
import shutil

import pytest

from tests.pipelines.diff.comparing import compare, format_diff

pytestmark = pytest.mark.long


@pytest.mark.parametrize("width", [80, 120, 200])
def test_tables_fit_the_terminal_and_contain_no_text_of_a_row(runs, rows, width):
    text = format_diff(*runs, width=width, force_terminal=True, color_system=None)
    lines = [line for line in text.splitlines() if "\x1b" not in line]
    tables = [line for line in lines if line.startswith(("all ", "de ", "lang "))]
    assert tables
    assert max(map(len, tables)) <= width
    assert all(row["text"] not in text and row["text"].split()[0] not in text.split() for row in rows)
    (label,) = [line for line in lines if line.startswith("lang ") and "most frequent changes" in line]
    assert lines[lines.index(label) + 1].startswith("all ")


def test_labels_cannot_control_the_terminal(run, rows, checkpoints, tmp_path):
    """They come from a checkpoint, which may not be trusted."""
    urls = []
    for name, labels in (("a", ["[red]x[/]", "\x1b[31my", "z\u202e"]), ("b", ["1", "2", "[/]"])):
        folder = tmp_path / name
        shutil.copytree(checkpoints / "heads" / "topic", folder)
        config = json.loads((folder / "config.json").read_text())
        config |= {"id2label": dict(enumerate(labels)), "label2id": {label: i for i, label in enumerate(labels)}}
        (folder / "config.json").write_text(json.dumps(config))
        urls.append(run(rows[:30], {"text-classification": {"head": str(folder)}}))
    text = format_diff(*urls)
    assert not {"\x1b", "\u202e"} & set(text)
    label = next(column for column in compare(*urls).columns if column.name == "label").total
    assert label.changed == 30
    assert ("[red]x[/] → 1" in text) == (("[red]x[/]", "1") in label.changes)
    assert ("z\\u202e → [/]" in text) == (("z\u202e", "[/]") in label.changes)


def test_output_to_a_pipe_has_complete_lines_without_escape_codes(runs):
    diff = compare(*runs)
    text = format_diff(*runs)
    assert "\x1b" not in text
    labels = next(column for column in diff.columns if column.name == "label").total
    (most, count), *_ = sorted(labels.changes.items(), key=lambda item: (-item[1], item[0]))
    assert f"{most[0]} → {most[1]} {count}" in text
    assert next(column for column in diff.columns if column.name == "embedding").total.min_similarity_id in text
