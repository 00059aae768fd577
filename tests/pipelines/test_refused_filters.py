import warnings

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.filter.parse import FilterError, parse_filter
from tests.pipelines.test_filters import TABLE
from xlm_core.errors import FatalError


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("yaer >= 2024", ["yaer", "did you mean year?"]),
        ('LANG == "de"', ["LANG", "did you mean lang?"]),
        ("zzz == 1", ["no column zzz", "it has row, year"]),
        ('year >= "2024"', ["year", "int16", "text", "without quotes"]),
        ("lang == 3", ["lang", "string", "number", "in quotes; text is compared by characters"]),
        ('lang > date("2024-01-31")', ["lang", "string", "date", 'write the text in the column, such as "2024-01-31"']),
        ('lang in ["de", 3]', ["mixes number and text"]),
        ("kind == 3", ["kind", "number"]),
        ("draft == 1", ["draft", "bool"]),
        ("lang < year", ["lang", "year", "string", "int16"]),
        ("year", ["year is int16", "compare it"]),
        ("tags == 1", ["tags", "list"]),
        ('date >= "2024-01-01"', ['write date("2024-01-01")']),
        ('seen_utc > timestamp("2024-01-01")', ["no offset", "tz=UTC"]),
        ('seen > timestamp("2024-01-01T00:00Z")', ["an offset", "remove"]),
        ("year == 70000", ["70000", "int16"]),
        ("year in [2023, 2024.5]", ["2024.5", "int16"]),
        ('seen in [timestamp("2024-01-01"), timestamp("2024-01-01T00:00Z")]', ["an offset", "remove"]),
        ("big > -1", ["-1", "uint64"]),
        ("price == 9.999", ["9.999", "decimal128(10, 2)"]),
    ],
)
def test_filter_that_does_not_match_the_schema_is_refused(text, parts):
    parse_filter(text.replace('["de", 3]', '["de"]'))  # the syntax is right, and without a schema that is all there is
    with pytest.raises(FatalError) as error:
        parse_filter(text, TABLE.schema)
    assert all(part in str(error.value) for part in parts), str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["lang = 'de'", "lang LIKE 'de'", "lang == 'de' AND year > 3", "lang IN ('de')"])
def test_syntax_of_sql_is_answered_by_what_to_write(text):
    with pytest.raises(FatalError) as error:
        parse_filter(text, TABLE.schema)
    assert 'write conditions such as year >= 2024, split == "train" or lang in ["de", "fr"]' in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "piece"),
    [
        ("", "empty"),
        ("  \n", "empty"),
        ("# year > 3", "# year > 3"),
        ("year >", "year >"),
        ("year = 2024", "year = 2024"),
        ("year > 1, lang", "year > 1, lang"),
        ("year > 1) or (lang is None", "brackets"),
        ('year > 1 and len(lang) > 3', "len(lang)"),
        ('__import__("os").system("true")', "__import__"),
        ("year > 1 and lang.upper", "lang.upper"),
        ("tags[0] == 1", "tags[0]"),
        ("year + 1 > 3", "year + 1"),
        ('lang == f"{year}"', 'f"{year}"'),
        ("(lambda: year)", "lambda: year"),
        ('lang == b"de"', 'b"de"'),
        ("year == None", "is None"),
        ("year is 3", "is None"),
        ("year in []", "[]"),
        ("year in lang", "lang is not a list"),
        ("year in [row]", "row"),
        ('"d" in lang', '"d"'),
        ("1 == 1", "1"),
        ("True", "True"),
        ('date >= date("2024-13-01")', 'date("2024-13-01")'),
        ("date >= date(2024)", "date(2024)"),
        (f"year == {'9' * 100}", "more digits"),
        (f"year in [{'9' * 70}, 1e-60]", "no single type"),
        ("year in [1e999, 9223372036854775808]", "no single type"),
    ],
)  # fmt: skip
def test_invalid_syntax_is_refused_without_a_schema(text, piece):
    with pytest.raises(FilterError) as error:
        parse_filter(text)
    assert piece in str(error.value)
    assert "\n" not in str(error.value)


def test_column_that_occurs_twice_in_the_data_is_refused():
    with pytest.raises(FilterError, match="2 columns a"):
        parse_filter("a > 1", pa.schema([("a", pa.int8()), ("a", pa.int8())]))


def test_type_that_arrow_cannot_compare_is_refused_before_the_scan():
    schema = pa.schema([("a", pa.struct([("x", pa.int8())])), ("b", pa.struct([("x", pa.int8())]))])
    with pytest.raises(FilterError, match="the columns cannot be compared"):
        parse_filter("a == b", schema)
    with pytest.raises(FilterError, match="write a is None, or is not None"):
        parse_filter("a == 1", schema)
    parse_filter("a is None", schema)


@pytest.mark.parametrize(
    "text",
    [
        "not " * 5000 + "draft",
        "(" * 5000 + "draft" + ")" * 5000,
        "-" * 5000 + "1 < year",
        "x" * 200_000,
        "9" * 9000 + " < year",
    ],
)
def test_huge_filters_are_refused_without_a_stack_overflow(text):
    with pytest.raises(FilterError) as error:
        parse_filter(text)
    assert len(str(error.value)) < 400


TOKENS = """
year lang draft nope and or not in is None True ( ) [ ] , < <= == != + - . = : # 1 2.5 1e999 0x1F 9223372036854775808
"de" "\\ud800" date("2024-01-01") timestamp("2024-01-01") col("lang") col() date() lambda if for f"{x}" * ß
"""
FRAGMENTS = st.sampled_from([*TOKENS.split(), "\n", "\x00", chr(0xD800)])


@settings(max_examples=500, deadline=None)
@given(st.one_of(st.text(max_size=40), st.lists(FRAGMENTS, max_size=12).map(" ".join)))
def test_any_text_gives_a_filter_or_a_one_line_error(text):
    for schema in (None, TABLE.schema):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                _, columns = parse_filter(text, schema)
            except FatalError as error:
                message = str(error)
                assert "\n" not in message
                assert message.encode()  # can be printed
            else:
                assert columns


def test_parsing_a_filter_executes_no_code(tmp_path):
    target = tmp_path / "written"
    with pytest.raises(FilterError, match="not part of the filter language"):
        parse_filter(f"open({str(target)!r}, 'w') == year")
    assert not target.exists()
