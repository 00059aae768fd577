"""Damaged corpus files and filters give shards, or an error message in plain lines."""

from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given
from hypothesis import strategies as st

from pipelines.corpus import ShardLimits, planned_shards
from pipelines.errors import FatalError, ShardError
from pipelines.filter import parse_filter
from pipelines.filter.parse import FilterError
from pipelines.job import Job
from pipelines.stages import Reader
from tests.chaos.fuzz.error_messages import check_message
from tests.chaos.fuzz.mutations import PARQUET_TOKENS, SLOW_IF_THOROUGH, examples, mutated_bytes
from tests.pipelines.test_filters import TABLE
from tests.plans import make_plan

pytestmark = SLOW_IF_THOROUGH


FILTERS = [
    "year >= 2024 and lang in ['de', 'fr'] and not (kind is None or draft)",
    "price == 9.99 or 0.1 < score < 3",
    'date >= date("2024-01-01") and seen < timestamp("2024-01-02T10:00:00")',
    'col("word count") in [1, 2, 3]',
]
FILTER_TOKENS = (
    *(b"(", b")", b" and ", b" not ", b" in ", b" is ", b"None", b"True", b"[", b"]", b'"', b"'", b"=", b"\n", b"# "),
    *(b"1e999", b"0x", b"9" * 50, b"lambda: ", b"*", b"**9", b"f'{x}'", b"\\ud800", b"\x00", b"_", b"tags"),
)


@examples(300, 5_000)
@given(data=st.one_of(*(mutated_bytes(text.encode(), tokens=FILTER_TOKENS) for text in FILTERS)))
def test_any_filter_is_parsed_or_rejected(data):
    text = data.decode(errors="surrogateescape")
    for schema in (None, TABLE.schema):
        try:
            expression, names = parse_filter(text, schema)
        except FilterError as error:
            check_message(error, "filter: ", max_lines=1)
        else:
            assert names
            if schema is not None:
                assert names <= set(schema.names)
                assert TABLE.filter(expression).schema == schema


def to_parquet(table: pa.Table, **options: Any) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, **options)
    return sink.getvalue().to_pybytes()


CORPUS = pa.table({
    "id": [f"row {i}" for i in range(40)],
    "text": pa.array([None, "", "a", "Guten Morgen."] * 10),
    "lang": pa.array(["en", "de"] * 20).dictionary_encode(),
    "n": pa.array(range(40), pa.int32()),
})  # fmt: skip


@examples(150, 2_000)
@given(
    data=st.one_of(
        *(
            mutated_bytes(to_parquet(CORPUS, row_group_size=20, compression=compression), tokens=PARQUET_TOKENS)
            for compression in ("none", "snappy", "zstd")
        )
    )
)
def test_corpus_of_any_bytes_is_refused_or_fails_its_shards_or_is_read(folder, data):
    (folder / "corpus").mkdir(exist_ok=True)
    (folder / "corpus" / "a.parquet").write_bytes(data)
    spec = {
        "input": {"path": str(folder / "corpus"), "id": "id", "text": "text", "lang": "lang", "filter": "n < 30"},
        "model": {"checkpoint": "x"}, "tasks": ["feature-extraction"], "output": {"path": "y", "rows_per_shard": 7},
    }  # fmt: skip
    try:
        job = Job.model_validate(spec)
        plan = make_plan(job.input, ShardLimits(job.output.rows_per_shard), job.storage)
    except FatalError as error:
        check_message(error, "a.parquet: ")
        return
    shards = planned_shards(plan.shards)[:50]
    schema = pa.schema([*plan.schema, ("_xlm_row", pa.int64())])
    for shard in Reader(schema, plan.schema.names, "n < 30", {}).read(shards):
        if shard.failure is not None:
            check_message(ShardError(shard.failure.message))
        else:
            assert shard.rows.schema.equals(schema)
