import datetime
from decimal import Decimal

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.filter.matching_rows import matching_rows
from pipelines.filter.parse import parse_filter

TABLE = pa.table(
    {
        "row": [0, 1, 2, 3],
        "year": pa.array([2023, 2024, 2025, None], pa.int16()),
        "lang": ["de", "fr", None, "de"],
        "kind": pa.array(["news", None, "web", "news"]).dictionary_encode(),
        "date": pa.array([datetime.date(2024, 1, day) for day in (1, 2, 3)] + [None], pa.date32()),
        "seen": pa.array([datetime.datetime(2024, 1, day, 12) for day in (1, 2, 3)] + [None], pa.timestamp("ms")),
        "seen_utc": pa.array(
            [datetime.datetime(2024, 1, day, tzinfo=datetime.UTC) for day in (1, 2, 3)] + [None],
            pa.timestamp("ns", "UTC"),
        ),
        "score": pa.array([0.1, -2.5, 3, None], pa.float32()),
        "price": pa.array([Decimal("1.50"), Decimal("9.99"), None, Decimal("20.00")], pa.decimal128(10, 2)),
        "big": pa.array([2**63, 0, 2**53 + 1, None], pa.uint64()),
        "draft": [True, False, None, True],
        "tags": [["a"], [], None, ["b"]],
        "word count": [1, 2, 3, 4],
    }
)  # fmt: skip


def rows(text, table=TABLE):
    expression, _ = parse_filter(text, table.schema)
    return table.filter(expression)["row"].to_pylist()


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("year >= 2024", [1, 2]),
        ("2024 <= year", [1, 2]),
        ("year == 2024.0", [1]),
        ("2023 < year < 2025", [1]),
        ("not (2023 < year < 2025)", [0, 2]),
        ('lang == "de" and year == 2023', [0]),
        ('lang == "fr" or year == 2023', [0, 1]),
        ('lang == "fr" or lang == "de" and year == 2025', [1]),
        ('lang in ["de", "nl"]', [0, 3]),
        ('lang in ("de", "fr")', [0, 1, 3]),
        ('kind in ["news"]', [0, 3]),
        ('kind == "web"', [2]),
        ("year in [2023, 2025.0]", [0, 2]),
        ("lang is None", [2]),
        ("lang is not None", [0, 1, 3]),
        ("tags is None", [2]),
        ("draft", [0, 3]),
        ("not draft", [1]),
        ("draft == True", [0, 3]),
        ('date >= date("2024-01-02")', [1, 2]),
        ('date in [date("2024-01-02")]', [1]),
        ('seen > timestamp("2024-01-02T11:59:59")', [1, 2]),
        ('seen < date("2024-01-02")', [0]),
        ('seen_utc >= timestamp("2024-01-02T01:00:00+01:00")', [1, 2]),
        ("score == 0.1", [0]),  # a float32 column: 0.1 means the nearest float32, not a double which no row can equal
        ("score < -2", [1]),
        ("price == 9.99", [1]),
        ("price in [1.5, 20]", [0, 3]),
        ("big == 9223372036854775808", [0]),
        ("big in [9223372036854775808, 1, 0.0]", [0, 1]),
        ("big > 9007199254740992", [0, 2]),  # doubles could not tell 2**53 + 1 from 2**53
        ('col("word count") >= 3', [2, 3]),
        ("row < col('word count') and row >= 2", [2, 3]),
        ("year\n  >= 2024  # recent\nand lang is not None\n", [1]),
    ],
)
def test_filter_keeps_matching_rows(text, kept):
    assert rows(text) == kept
    parse_filter(text)  # without a schema no type is known, and nothing that fits the data is refused


@pytest.mark.parametrize(
    "condition",
    [
        "year >= 2024",
        "year in [2023]",
        'lang == "de"',
        'lang not in ["de"]',
        "draft",
        "2023 < year <= 2024",
        "year == year",
    ],
)
def test_null_matches_neither_a_condition_nor_its_negation(condition):
    column = condition.split()[0] if condition[0] != "2" else "year"
    null_rows = rows(f"{column} is None")
    assert len(null_rows) == 1
    kept, dropped = rows(condition), rows(f"not ({condition})")
    assert sorted(kept + dropped + null_rows) == [0, 1, 2, 3]


@st.composite
def conditions(draw, depth=3):
    """A condition, and what SQL says of it for a row: True, False or None."""
    if depth and draw(st.booleans()):
        op = draw(st.sampled_from(["and", "or", "not"]))
        text_a, value_a = draw(conditions(depth=depth - 1))
        if op == "not":
            return f"not ({text_a})", lambda row: None if value_a(row) is None else not value_a(row)
        text_b, value_b = draw(conditions(depth=depth - 1))

        def combine(row):
            values = {value_a(row), value_b(row)}
            decisive = op == "or"
            return decisive if decisive in values else None if None in values else not decisive

        return f"({text_a}) {op} ({text_b})", combine
    column = draw(st.sampled_from(["a", "b"]))
    number = draw(st.integers(-2, 2))
    text, value = draw(
        st.sampled_from(
            [
                (f"{column} < {number}", lambda x: x < number),
                (f"{number} != {column}", lambda x: x != number),
                (f"{column} in [{number}, 0]", lambda x: x in (number, 0)),
                (f"{column} not in [{number}]", lambda x: x != number),
                (f"-1 <= {column} <= {number}", lambda x: -1 <= x <= number),
            ]
        )
    )
    if draw(st.booleans()):
        return text, lambda row: None if row[column] is None else value(row[column])
    return f"{column} is None", lambda row: row[column] is None


@settings(max_examples=200, deadline=None)
@given(conditions())
def test_conditions_agree_with_three_valued_logic(condition):
    text, value = condition
    numbers = [None, -2, -1, 0, 1, 2]
    data = [{"row": i, "a": a, "b": b} for i, (a, b) in enumerate((a, b) for a in numbers for b in numbers)]
    schema = pa.schema([("row", pa.int64()), ("a", pa.int8()), ("b", pa.float32())])
    assert rows(text, pa.Table.from_pylist(data, schema=schema)) == [row["row"] for row in data if value(row)]


@pytest.mark.parametrize("data_type", [pa.float16(), pa.float32(), pa.float64()])
@pytest.mark.parametrize("zero", ["0", "-0.0"])
def test_both_zeros_are_equal_in_lists_too(data_type, zero):
    values = pa.array([0.0, -0.0, 1.0, None, float("nan")]).cast(data_type)
    table = pa.table({"row": range(5), "x": values})
    for text, kept in ((f"x in [{zero}, 2]", [0, 1]), (f"x == {zero}", [0, 1]), (f"x not in [{zero}]", [2, 4])):
        assert table["row"].filter(matching_rows(text, table)).to_pylist() == kept


def test_filter_skips_row_groups_by_their_statistics(tmp_path):
    pq.write_table(pa.table({"year": pa.array(range(1000), pa.int16())}), tmp_path / "a.parquet", row_group_size=100)
    expression, _ = parse_filter("year >= 950 and year not in [999]", pa.schema([("year", pa.int16())]))
    fragment = next(ds.dataset(tmp_path / "a.parquet").get_fragments())
    assert [group.id for group in fragment.subset(expression).row_groups] == [9]


def test_parse_returns_the_columns_that_the_filter_reads():
    text = 'a > 1 and (b in ["x"] or not c) and col("d e") is None and f < g and date == date("2024-01-01")'
    assert parse_filter(text)[1] == {"a", "b", "c", "d e", "f", "g", "date"}


def test_long_lists_and_chains_are_accepted():
    assert rows(f"year in [{', '.join(map(str, range(2024, 12_000)))}]") == [1, 2]
    assert rows(" or ".join(f"year == {year}" for year in range(2024, 8000))) == [1, 2]
