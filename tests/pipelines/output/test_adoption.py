"""Parts that were written last before a run died are adopted if they prove to be whole, and of this job and shard."""

import json
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.output.directory import Output
from pipelines.output.parts import SHARD_RECORD, decode_schema, part_bytes, sha256
from pipelines.output.resume import compare_with_plan, remove_stale_parts
from pipelines.run.execute import run
from pipelines.run.prepare import prepare_job
from pipelines.storage import locate
from tests.flow.conftest import make_job
from tests.flow.in_process import run_to_records, without_ray
from tests.flow.run.outputs import printed, quiet_console, result_digests

__all__ = ["make_job"]


@pytest.fixture
def killed(make_job, corpus, tmp_path):
    """A job of five shards, its output with all parts but without any record, and its records."""
    rows = [{"id": "empty", "lang": "de", "text": " "}, *corpus[:19]]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "in.parquet")
    spec = {"path": str(tmp_path / "in.parquet"), "id": "id", "text": "text", "lang": "lang"}
    job = make_job(input=spec, tasks=["feature-extraction"], output__rows_per_shard=4)
    prepared = prepare_job(job)
    output = Output(prepared.output)
    output.begin(prepared.description, prepared.plan.shards)
    return job, output, sorted(run_to_records(job), key=lambda record: record.shard)


def compare(job, output):
    prepared = prepare_job(job)
    return compare_with_plan(output, prepared.plan.shards, prepared.segmenters)


def untimed(record):
    return {name: value for name, value in record.to_row().items() if not name.endswith("_s")}


def test_resume_computes_only_parts_that_prove_nothing(killed, monkeypatch, tmp_path):
    job, output, records = killed
    shutil.copytree(output.location.path, tmp_path / "whole")
    output.ledger.append(records[:1])
    (output.parts / records[-1].part).delete()
    state = compare(job, output)
    assert [untimed(record) for record in state.adopted] == [untimed(record) for record in records[1:-1]]
    assert state.notes == ["adopting 3 parts that the last run finished, but did not record"]
    assert state.todo["shard"].to_pylist() == [records[-1].shard]
    without_ray(monkeypatch)
    console = quiet_console()
    assert run(job, console)["status"] == "complete"
    assert "adopting 3 parts" in printed(console)
    assert "4 rows in 1 shard, 4 already done" in printed(console)
    assert result_digests(tmp_path / "out") == result_digests(tmp_path / "whole")
    found = sorted(output.ledger.load(), key=lambda record: record.shard)
    assert [untimed(record) for record in found] == [untimed(record) for record in records]


def test_adopted_parts_are_recorded_even_if_nothing_is_left_to_compute(killed):
    job, output, records = killed
    state = compare(job, output)
    assert not state.is_complete
    remove_stale_parts(output, state)
    assert len(output.ledger.load()) == len(records)
    assert compare(job, output).is_complete


def change_record(footer, old, new):
    """Replace a text in a record, with a digest that is right again."""
    row = json.loads(json.dumps(json.loads(footer)["record"]).replace(old, new))
    return json.dumps({"record": row, "sha256": sha256(json.dumps(row, sort_keys=True).encode())})


def change_statistics(data):
    """Change the greatest id in the footer, by which readers skip row groups. No checksum protects it."""
    greatest = pq.ParquetFile(pa.BufferReader(data)).metadata.row_group(0).column(0).statistics.max.encode()
    position = data.rindex(greatest)
    changed = data[:position] + b"~" + data[position + 1 :]
    assert pq.read_table(pa.BufferReader(changed), page_checksum_verification=True).equals(
        pq.read_table(pa.BufferReader(data))
    )
    return changed


def rewrite(change):
    def fault(output, record):
        path = f"{output.parts.path}/{record.part}"
        file = pq.ParquetFile(path)
        footer = file.metadata.metadata[SHARD_RECORD].decode()
        declared = decode_schema(file.metadata.metadata[b"ARROW:schema"])
        rows, footer = change(file.read().replace_schema_metadata(declared.metadata), footer, record)
        (output.parts / record.part).put(part_bytes(rows, footer))

    return fault


def overwrite(name, change):
    def fault(output, record):
        file = getattr(output, name) / record.part
        file.put(change(file.read_bytes()))

    return fault


FAULTS = {
    "truncated": overwrite("parts", lambda data: data[:-9]),
    "a byte of a page": overwrite("parts", lambda data: data[:40] + bytes([data[40] ^ 1]) + data[41:]),
    "statistics": overwrite("parts", change_statistics),
    "no record": rewrite(lambda rows, footer, record: (rows, None)),
    "a record that is no JSON": rewrite(lambda rows, footer, record: (rows, footer[:-3])),
    "of another job": rewrite(
        lambda rows, footer, record: (
            rows.replace_schema_metadata(rows.schema.metadata | {b"xlm:fingerprint": b"0"}),
            footer,
        )
    ),
    "of another shard": rewrite(
        lambda rows, footer, record: (rows, change_record(footer, record.shard, "0" * 16 + "-0-0"))
    ),
    "of another file": rewrite(
        lambda rows, footer, record: (rows, change_record(footer, record.file, "other.parquet"))
    ),
    "a count of the record": rewrite(lambda rows, footer, record: (rows, footer.replace('"tokens": ', '"tokens": 1'))),
    "a row less": rewrite(lambda rows, footer, record: (rows.slice(1), footer)),
    "rows in another order": rewrite(lambda rows, footer, record: (rows.take([1, 0, 2]), footer)),
    "without its rejected rows": lambda output, record: (output.rejected / record.part).delete(),
    "other rejected rows": overwrite("rejected", lambda data: data + b" "),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_part_without_proof_is_removed(killed, fault):
    job, output, records = killed
    assert records[0].rows_rejected == 1
    FAULTS[fault](output, records[0])
    state = compare(job, output)
    assert [record.shard for record in state.adopted] == [record.shard for record in records[1:]]
    assert state.stale_parts == [records[0].part]


def test_rejected_rows_of_an_earlier_attempt_disprove_a_part(killed):
    job, output, records = killed
    (output.rejected / records[1].part).put(b"of an earlier attempt")
    assert records[1].shard in compare(job, output).todo["shard"].to_pylist()


def test_nothing_is_adopted_where_rows_depend_on_other_shards(killed):
    """Which rows repeat an id depends on the plan of the run that wrote the part, which may not be the last run."""
    job, output, _ = killed
    job = job.model_copy(update={"policy": job.policy.model_copy(update={"duplicate_ids": "reject"})})
    prepared = prepare_job(job)
    output.begin(prepared.description, prepared.plan.shards)
    state = compare(job, output)
    assert (state.adopted, state.notes) == ([], ["computing 5 parts again that the last run did not record"])


def test_parts_of_another_precision_are_not_adopted(killed):
    job, output, records = killed
    rewrite(lambda rows, footer, record: (rows, change_record(footer, '"float32"', '"bfloat16"')))(output, records[0])
    output.ledger.append(records[1:2])
    assert [record.shard for record in compare(job, output).adopted] == [record.shard for record in records[2:]]


def test_output_at_a_store_is_adopted_too(killed):
    job, output, records = killed
    other = Output(locate(f"local://{output.location.path}"))
    assert len(compare(job, other).adopted) == len(records)
