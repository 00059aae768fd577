"""The file of results: a benchmark that runs again replaces its own section only."""

from tests.bench.table import Row, keep_rows

ORDER = ("first", "second")


def test_section_is_replaced_and_the_rest_is_kept(tmp_path):
    path = tmp_path / "RESULTS.md"
    path.write_text("# Speed\n\nAbout.\n\n## Limits\n\nWritten by hand.\n", encoding="utf-8")
    keep_rows("second", [Row("b", "1.0 x")], "texts", ORDER, path)
    keep_rows("first", [Row("a", "2.0 x", "3 x")], "texts", ORDER, path)
    keep_rows("second", [Row("b", "4.0 x")], "other texts", ORDER, path)
    text = path.read_text(encoding="utf-8")
    assert [line for line in text.splitlines() if line.startswith("#")] == [
        "# Speed",
        "## first",
        "## second",
        "## Limits",
    ]
    assert "| a | 2.0 x | 3 x |" in text
    assert "| b | 4.0 x |  |" in text
    assert "1.0 x" not in text
    assert text.startswith("# Speed\n\nAbout.\n")
    assert text.endswith("Written by hand.\n")
