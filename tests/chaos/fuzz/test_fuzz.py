"""Readers of what people and machines leave lying about: whatever they are fed, an error of ours or a valid object.

Mostly valid files are changed a little, since pure noise is refused at the first byte. `XLM_CHAOS=1` draws many more.
"""

import json
import shutil
import struct
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from jobs.commands.preview import gather
from jobs.job_file.load import dump_job, load_job
from jobs.job_file.yaml_reader import SpecError
from pipelines.corpus.plan import make_plan
from pipelines.corpus.planned_shard import PLAN, planned_shards
from pipelines.errors import FatalError, ShardError
from pipelines.filter.parse import FilterError, parse_filter
from pipelines.job.job import Job
from pipelines.output.directory import Output
from pipelines.output.ledger import Ledger
from pipelines.output.shard_record import ShardRecord
from pipelines.stages.read import Reader
from pipelines.storage import locate
from tests.chaos.bad_input.bench import Bench
from tests.chaos.fuzz.mutations import THOROUGH, VALUES, examples, mutated, mutated_json
from tests.flow.in_process import run_to_records
from tests.jobs.job_file.example_jobs import FULL, JOBS
from tests.pipelines.output.shard_records import make_record
from tests.pipelines.test_filters import TABLE
from xlm_core import XLMConfig, XLMModel, XLMTokenizer, check_checkpoint
from xlm_core.errors import CheckpointError, TokenizerError

pytestmark = [pytest.mark.slow] if THOROUGH else []


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A directory of which the files are written anew for each example."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def in_lines(error: Exception, says: str = "", most: int = 50) -> None:
    """Check that an error is what a person can read: few lines, none of them long."""
    lines = str(error).split("\n")
    assert all(line.strip() for line in lines)
    assert len(lines) <= most
    assert says in str(error)
    assert max(map(len, lines)) < 2_000


def loads(path: Path, overrides: tuple[str, ...] = ()) -> None:
    """Read a job, which also has to be written and read again."""
    try:
        job = load_job(path, overrides)
    except SpecError as error:
        in_lines(error)
    else:
        assert isinstance(job, Job)
        path.with_name("again.yaml").write_text(dump_job(job), encoding="utf-8")
        assert load_job(path.with_name("again.yaml")) == job


YAML_MARKS = (
    *(b": ", b"- ", b"&a ", b"*a", b"? ", b"|\n", b"{", b"}", b"[", b"'", b'"', b"\t", b"\n---\n", b"%YAML 1.1\n"),
    *(b"!!python/name:os.system", b"<<: ", b"no", b"~", b".nan", b"\xef\xbb\xbf", b"\xc2\x85"),
)


@examples(120, 2_000)
@given(data=st.one_of(st.binary(max_size=200), *(mutated(job.encode(), tokens=YAML_MARKS) for job in JOBS)))
def test_a_job_file_of_any_bytes(folder, data):
    (folder / "job.yaml").write_bytes(data)
    loads(folder / "job.yaml")


@examples(150, 2_000)
@given(spec=st.one_of(*(mutated_json(yaml.safe_load(job)) for job in JOBS)))
def test_a_job_file_of_any_values(folder, spec):
    (folder / "job.yaml").write_text(yaml.safe_dump(spec, allow_unicode=True), encoding="utf-8")
    loads(folder / "job.yaml")


NAMES = st.sampled_from(
    ["input", "lang", "fixed", "keep", "tasks", "feature-extraction", "tokenizer", "name", "0", "1", "99", "-1", "x"]
)


@examples(120, 2_000)
@given(
    settings=st.lists(
        st.one_of(
            st.text(max_size=20),
            st.tuples(st.lists(NAMES, min_size=1, max_size=5).map(".".join), st.text(max_size=12)).map("=".join),
            st.tuples(st.lists(NAMES, min_size=1, max_size=5).map(".".join), VALUES.map(json.dumps)).map("=".join),
        ),
        max_size=3,
    )
)
def test_any_overrides(folder, settings):
    (folder / "full.yaml").write_text(FULL, encoding="utf-8")
    loads(folder / "full.yaml", tuple(settings))


FILTERS = [
    "year >= 2024 and lang in ['de', 'fr'] and not (kind is None or draft)",
    "price == 9.99 or 0.1 < score < 3",
    'date >= date("2024-01-01") and seen < timestamp("2024-01-02T10:00:00")',
    'col("word count") in [1, 2, 3]',
]
FILTER_WORDS = (
    *(b"(", b")", b" and ", b" not ", b" in ", b" is ", b"None", b"True", b"[", b"]", b'"', b"'", b"=", b"\n", b"# "),
    *(b"1e999", b"0x", b"9" * 50, b"lambda: ", b"*", b"**9", b"f'{x}'", b"\\ud800", b"\x00", b"_", b"tags"),
)


@examples(300, 5_000)
@given(data=st.one_of(*(mutated(text.encode(), tokens=FILTER_WORDS) for text in FILTERS)))
def test_any_filter(data):
    text = data.decode(errors="surrogateescape")
    for schema in (None, TABLE.schema):
        try:
            expression, names = parse_filter(text, schema)
        except FilterError as error:
            in_lines(error, "filter: ", most=1)
        else:
            assert names
            if schema is not None:
                assert names <= set(schema.names)
                assert TABLE.filter(expression).schema == schema


def parquet(table: pa.Table, **options: Any) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, **options)
    return sink.getvalue().to_pybytes()


def _filled(schema: pa.Schema) -> pa.Table:
    """Make two rows of a schema, with the simplest values."""
    plain = {pa.string(): "a", pa.int64(): 1, pa.int32(): 1, pa.float64(): 0.5}
    return pa.Table.from_pylist([{f.name: plain.get(f.type, []) for f in schema}] * 2, schema)


PARQUET_MARKS = (b"PAR1", b"PARE", b"\x15", b"\xff\xff\xff\x7f", b"\xff\xff\xff\xff", b"\x00" * 8)


def _ledger_file() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        Ledger(locate(folder)).append([make_record(1), make_record(2)])
        (file,) = Path(folder).glob("*.parquet")
        assert len(Ledger(locate(folder)).load()) == 2
        return file.read_bytes()


A_LEDGER = _ledger_file()


@examples(150, 2_000)
@given(data=st.one_of(st.binary(max_size=64), mutated(A_LEDGER, tokens=PARQUET_MARKS)))
def test_a_ledger_of_any_bytes(folder, data):
    (folder / "ledger").mkdir(exist_ok=True)
    (folder / "ledger" / "0.parquet").write_bytes(data)
    try:
        records = Ledger(locate(str(folder / "ledger"))).load()
    except FatalError as error:
        in_lines(error, "0.parquet: a damaged ledger file; delete it", most=1)
    else:
        assert all(ShardRecord.from_row(record.to_row()) == record for record in records.values())


@examples(100, 3_000)
@given(data=st.one_of(st.binary(max_size=64), mutated(parquet(_filled(PLAN)), tokens=PARQUET_MARKS)))
def test_a_plan_of_any_bytes(folder, data):
    (folder / "out" / "_xlm").mkdir(parents=True, exist_ok=True)
    (folder / "out" / "_xlm" / "plan.parquet").write_bytes(data)
    num_planned = Output(locate(str(folder / "out"))).num_planned()
    assert num_planned is None or num_planned >= 0


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
            mutated(parquet(CORPUS, row_group_size=20, compression=compression), tokens=PARQUET_MARKS)
            for compression in ("none", "snappy", "zstd")
        )
    )
)
def test_a_corpus_of_any_bytes(folder, data):
    """A damaged file is refused as a whole, or fails its shard; what is read of it has the columns it should."""
    (folder / "corpus").mkdir(exist_ok=True)
    (folder / "corpus" / "a.parquet").write_bytes(data)
    spec = {
        "input": {"path": str(folder / "corpus"), "id": "id", "text": "text", "lang": "lang", "filter": "n < 30"},
        "model": {"checkpoint": "x"}, "tasks": ["feature-extraction"], "output": {"path": "y", "rows_per_shard": 7},
    }  # fmt: skip
    try:
        job = Job.model_validate(spec)
        plan = make_plan(job.input, job.output.rows_per_shard, job.storage)
    except FatalError as error:
        in_lines(error, "a.parquet: ")
        return
    shards = planned_shards(plan.shards)[:50]
    schema = pa.schema([*plan.schema, ("_xlm_row", pa.int64())])
    for shard in Reader(schema, plan.schema.names, "n < 30").read(shards):
        if shard.failure is not None:
            in_lines(ShardError(shard.failure.message))
        else:
            assert shard.rows.schema.equals(schema)


@examples(150, 2_000)
@given(
    saved=st.one_of(
        mutated_json(
            {"spec": {"name": "x", "input": {"id": None, "keep": ["a"]}}, "fingerprint": {"format": 2, "a": [1]}}
        ).map(lambda value: json.dumps(value).encode()),
        mutated(b'{"spec": {}, "fingerprint": {"format": 2, "tasks": [{"a": null}]}, "metadata": {}}'),
        st.just(b"[" * 20_000),
    )
)
def test_a_job_json_of_any_content(folder, saved):
    (folder / "done" / "_xlm").mkdir(parents=True, exist_ok=True)
    (folder / "done" / "_xlm" / "job.json").write_bytes(saved)
    output = Output(locate(str(folder / "done")))
    try:
        output.check_fingerprint({"format": 2, "tasks": [], "checkpoint": "abc"})
    except FatalError as error:
        in_lines(error)


@pytest.fixture(scope="module")
def shown(demo, folder) -> Path:
    """An output to show."""
    bench = Bench(folder / "shown", demo)
    (record,) = run_to_records(Job.model_validate(bench.settings))
    output = Output(locate(str(bench.out)))
    output.ledger.append([record])
    return bench.out


@examples(100, 2_000)
@given(saved=mutated_json({"spec": {"input": {"id": "id", "keep": []}}, "fingerprint": {}}))
def test_showing_an_output_with_a_job_json_of_any_values(shown, saved):
    (shown / "_xlm" / "job.json").write_text(json.dumps(saved), encoding="utf-8")
    try:
        preview = gather(locate(str(shown)), 3)
    except FatalError as error:
        in_lines(error, "job.json: damaged", most=1)
    else:
        assert len(preview.rows) == 2


@pytest.fixture(scope="module")
def own(checkpoint, folder) -> Callable[[str, bytes], Path]:
    """Give a copy of the checkpoint of which one file is other than it was."""
    whole = {path.name: path.read_bytes() for path in checkpoint.iterdir()}
    copy = folder / "checkpoint"
    shutil.copytree(checkpoint, copy)
    changed = set[str]()

    def write(name: str, data: bytes) -> Path:
        while changed:
            (copy / (other := changed.pop())).write_bytes(whole[other])
        (copy / name).write_bytes(data)
        changed.add(name)
        return copy

    return write


def tokenizes(directory: Path) -> None:
    try:
        tokenizer = XLMTokenizer.from_pretrained(directory, ja="fugashi")
        encoding = tokenizer.encode_batch(["Guten Morgen, a b c!"], [None])
    except (TokenizerError, CheckpointError) as error:
        in_lines(error)
    else:
        assert set(encoding.input_ids.tolist()) <= set(tokenizer.vocab.values())


SMALL_VOCAB = {
    token: i for i, token in enumerate(["<s>", "</s>", "<pad>", "<unk>", "<special0>", "<special1>", "a</w>"])
}


@examples(150, 2_000)
@given(vocab=mutated_json(SMALL_VOCAB))
def test_a_vocabulary_of_any_values(own, vocab):
    tokenizes(own("vocab.json", json.dumps(vocab).encode()))


@examples(100, 2_000)
@given(
    data=mutated(
        json.dumps(SMALL_VOCAB).encode(), tokens=(b'"', b",", b"{", b"[", b"1e9", b"NaN", b"9" * 5_000, b"\\u")
    )
)
def test_a_vocabulary_of_any_bytes(own, data):
    tokenizes(own("vocab.json", data))


@examples(100, 2_000)
@given(
    data=mutated(
        b"t h 12\nth e</w> 7\na b\n", tokens=(b"\n", b" ", b"\xe2\x80\xa8", b"\xef\xbb\xbf", b"#version", b"\x00")
    )
)
def test_merges_of_any_bytes(own, data):
    tokenizes(own("merges.txt", data))


@examples(150, 2_000)
@given(data=st.data())
def test_a_tokenizer_config_of_any_values(own, checkpoint, data):
    config = json.loads((checkpoint / "tokenizer_config.json").read_text(encoding="utf-8"))
    config |= {"model_max_length": 128, "additional_special_tokens": ["<special0>"], "padding_side": "left",
               "unk_token": {"content": "<unk>"}, "added_tokens_decoder": {"0": {"content": "<s>"}}}  # fmt: skip
    tokenizes(own("tokenizer_config.json", json.dumps(data.draw(mutated_json(config))).encode()))


@examples(200, 2_000)
@given(data=st.data())
def test_a_configuration_of_any_values(own, checkpoint, data):
    config = json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))
    directory = own("config.json", json.dumps(data.draw(mutated_json(config))).encode())
    try:
        XLMConfig.from_pretrained(directory)
        check_checkpoint(directory, "trunk")
    except CheckpointError as error:
        in_lines(error, str(directory), most=1)


@examples(120, 2_000)
@given(data=st.data())
def test_a_safetensors_header_of_any_values(own, checkpoint, data):
    whole = (checkpoint / "model.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", whole[:8])
    header = data.draw(mutated_json(json.loads(whole[8 : 8 + length])))
    text = json.dumps(header).encode()
    size = data.draw(st.sampled_from([len(text)] * 8 + [0, 2**40, 2**64 - 1]))
    directory = own("model.safetensors", struct.pack("<Q", size) + text + whole[8 + length :])
    try:
        XLMModel.from_pretrained(directory)
    except CheckpointError as error:
        in_lines(error, str(directory), most=1)
