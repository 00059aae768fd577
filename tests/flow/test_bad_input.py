"""Bad input, as a person meets it on the command line: one clear line with the next step, or a rejected row.

Nothing here may show a traceback, lose a row, or start Ray where the job cannot work.
"""

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from jobs.cli import main
from jobs.commands import UNUSABLE
from tests.flow.in_process import read_output, read_rejected, run_stages

GOOD = {"id": ["a", "b"], "text": ["Good morning.", "Guten Morgen."], "lang": ["en", "de"]}


@pytest.fixture
def spec(demo, tmp_path):
    return {
        "input": {"path": str(tmp_path / "in.parquet"), "id": "id", "text": "text", "lang": "lang"},
        "model": {"checkpoint": str(demo / "checkpoint")},
        "tasks": ["feature-extraction"],
        "tokenizer": {"max_length": 128, "ja": "fugashi"},
        "output": {"path": str(tmp_path / "out")},
    }


@pytest.fixture
def refused(spec, tmp_path, capsys, monkeypatch):
    """Run a job that cannot work, and give the line that the person gets."""

    def run(*settings: str, table: pa.Table | None = None, **changes: object) -> str:
        if table is not None:
            pq.write_table(table, tmp_path / "in.parquet")
        (tmp_path / "job.yaml").write_text(yaml.safe_dump(spec | changes, allow_unicode=True), encoding="utf-8")
        monkeypatch.setattr("ray.init", lambda *_, **__: pytest.fail("Ray was started for a job that cannot work"))
        arguments = [part for setting in settings for part in ("--set", setting)]
        assert main(["run", str(tmp_path / "job.yaml"), *arguments]) == UNUSABLE
        captured = capsys.readouterr()
        assert "Traceback" not in captured.out + captured.err
        lines = captured.err.strip().splitlines()
        assert lines
        assert all(line.startswith("xlm: ") for line in lines)
        assert not list(tmp_path.glob("out/part-*"))
        return captured.err

    return run


@pytest.fixture
def good() -> pa.Table:
    return pa.table(GOOD)


def test_missing_file(refused):
    assert "in.parquet: no such file or directory; correct input.path" in refused()


def test_no_match(refused, tmp_path):
    assert "*.pq: no file matches; correct input.path" in refused(f"input.path={tmp_path}/*.pq")


def test_empty_directory(refused, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "empty: the directory holds no data files" in refused(f"input.path={tmp_path}/empty")


def test_unknown_kind_of_url(refused):
    assert "nope://x/y: nothing here reads nope://" in refused("input.path=nope://x/y")


def test_not_parquet(refused, tmp_path):
    (tmp_path / "in.parquet").write_text("id,text,lang\n1,hello,en\n")
    assert "in.parquet: not a Parquet file (24 bytes); name the data files" in refused()


@pytest.mark.parametrize("keep", [4, 11, 200, -1, -9])
def test_truncated_parquet(refused, tmp_path, good, keep):
    pq.write_table(good, tmp_path / "in.parquet")
    data = (tmp_path / "in.parquet").read_bytes()
    (tmp_path / "in.parquet").write_bytes(data[:keep])
    said = refused()
    assert "a damaged or cut-off Parquet file" in said or "not a Parquet file" in said


def test_every_bad_file_is_named(refused, tmp_path, good):
    (tmp_path / "many").mkdir()
    for i in range(3):
        (tmp_path / "many" / f"{i}.parquet").write_bytes(b"PAR1 and then nothing")
    pq.write_table(good, tmp_path / "many" / "fine.parquet")
    said = refused(f"input.path={tmp_path}/many")
    assert all(f"{i}.parquet: a damaged or cut-off" in said for i in range(3))
    assert "fine.parquet" not in said


def test_no_rows(refused, good):
    assert "no rows; correct input.path" in refused(table=good.slice(0, 0))


def test_missing_column(refused, good):
    assert "in.parquet: no column txt; did you mean text?" in refused("input.text=txt", table=good)
    assert "no column zzz; it has id, text, lang" in refused("input.keep=[zzz]", table=good)


@pytest.mark.parametrize(
    ("column", "values", "said"),
    [
        ("text", pa.array([1, 2]), "input.text text is int64; expected text, or lists of text"),
        ("text", pa.array([[1], [2]]), "input.text text is list<element: int64>; expected text, or lists of text"),
        ("text", pa.array([[["a"]], [["b"]]]), "input.text text is list<element: list<"),
        ("text", pa.array([{"a": "b"}, None]), "input.text text is struct<a: string>; expected text"),
        ("lang", pa.array([1, 2]), "input.lang lang is int64; expected text\n"),
        ("lang", pa.array([["en"], ["de"]]), "input.lang lang is list<element: string>; expected text\n"),
        ("id", pa.array([0.5, 1.5]), "input.id id is double; expected text or whole numbers"),
    ],
)
def test_wrong_column_type(refused, good, column, values, said):
    assert said in refused(table=good.set_column(good.schema.get_field_index(column), column, values))


def test_a_column_that_is_there_twice(refused, tmp_path, good):
    twice = pa.Table.from_arrays([*good.columns, good["text"]], names=["id", "text", "lang", "text"])
    assert "has 2 columns text; name each once" in refused(table=twice)


def test_names_that_hold_glob_characters(make_job, tmp_path, good):
    folder = tmp_path / "dir [v1]"
    folder.mkdir()
    pq.write_table(good, folder / "br[1].parquet")
    for i, path in enumerate((folder, folder / "*.parquet", folder / "br[1].parquet")):
        spec = {"path": str(path), "id": "id", "text": "text", "lang": "lang"}
        (record,) = run_stages(make_job(input=spec, tasks=["feature-extraction"], output__path=str(tmp_path / f"{i}")))
        assert record["rows_out"] == 2


def test_files_of_one_corpus_by_many_writers(make_job, tmp_path):
    """One says that a column has no nulls and another has some; strings come in every layout."""
    texts = {"a": ["one", "two"], "b": ["three", None], "c": ["four", "five"], "d": ["six", None], "e": ["seven", "x"]}
    kinds = {
        "a": pa.string(), "b": pa.string(), "c": pa.large_string(), "d": pa.string_view(),
        "e": pa.dictionary(pa.int32(), pa.string()),
    }  # fmt: skip
    for name, kind in kinds.items():
        text = pa.array(texts[name], pa.string()).cast(kind)
        lang = pa.array(["en", "de"], pa.string()).cast(kind)
        ids = pa.array([2**63 + ord(name), ord(name)], pa.uint64())
        schema = pa.schema([pa.field("id", pa.uint64()), pa.field("text", kind, name != "a"), ("lang", kind)])
        pq.write_table(pa.table([ids, text, lang], schema=schema), tmp_path / f"{name}.parquet")
    spec = {"path": str(tmp_path / "?.parquet"), "id": "id", "text": "text", "lang": "lang", "filter": "id > 98"}
    job = make_job(input=spec, tasks=["feature-extraction"], policy={"duplicate_ids": "reject"})
    records = run_stages(job)
    assert [record["error"] for record in records] == [None] * 5
    found = read_output(job.output.path)["id"].to_pylist()
    assert sorted(found) == sorted([99, 101, *(2**63 + ord(name) for name in "abcde")])
    assert [row["reason"] for row in read_rejected(job.output.path)] == ["null_text"]


def test_files_that_disagree(refused, tmp_path, good):
    (tmp_path / "many").mkdir()
    pq.write_table(good.append_column("n", pa.array([1, 2], pa.int32())), tmp_path / "many" / "a.parquet")
    pq.write_table(good.append_column("n", pa.array(["1", "2"])), tmp_path / "many" / "b.parquet")
    said = refused(f"input.path={tmp_path}/many", "input.keep=[n]")
    assert "b.parquet: column n is string, but int32 in" in said


def test_files_of_which_some_have_texts_and_some_lists_of_words(refused, tmp_path, good):
    """Either is fine, and both within a corpus are not: places in the text would mean two things."""
    (tmp_path / "many").mkdir()
    words = pa.array([["Good", "morning", "."], ["Guten", "Morgen", "."]])
    kinds = {"a": good["text"], "b": good["text"].cast(pa.large_string()), "c": words}
    for name, texts in kinds.items():
        pq.write_table(good.set_column(1, "text", texts), tmp_path / "many" / f"{name}.parquet")
    said = refused(f"input.path={tmp_path}/many")
    assert "c.parquet: column text is list<element: string>, but string in" in said
    assert "b.parquet" not in said
    assert "write them with one type" in said


def test_filter_on_a_column_that_is_not_there(refused, good):
    assert "yaer" in refused("input.filter=yaer > 3", table=good)


def test_duplicate_ids(refused, tmp_path, good):
    table = pa.concat_tables([good, good.slice(1)])
    said = refused(table=table)
    assert "input.id id: 1 rows repeat an id" in said
    assert "row 2 has that of" in said
    assert "set policy.duplicate_ids to reject or ignore" in said


def test_duplicate_ids_can_be_rejected(make_job, tmp_path, good):
    """The first row in the order of the plan stays, over shards, row groups and files."""
    pq.write_table(pa.concat_tables([good, good]), tmp_path / "a.parquet", row_group_size=3)
    pq.write_table(good, tmp_path / "b.parquet")
    job = make_job(
        input={"path": str(tmp_path / "?.parquet"), "id": "id", "text": "text", "lang": "lang"},
        policy={"duplicate_ids": "reject"},
        tasks=["feature-extraction"],
        output__rows_per_shard=2,
    )
    run_stages(job)
    assert read_output(job.output.path)["id"].to_pylist() == ["a", "b"]
    rejected = read_rejected(job.output.path)
    assert sorted((Path(r["file"]).name, r["row"], r["id"], r["reason"]) for r in rejected) == [
        ("a.parquet", 2, "a", "duplicate_id"),
        ("a.parquet", 3, "b", "duplicate_id"),
        ("b.parquet", 0, "a", "duplicate_id"),
        ("b.parquet", 1, "b", "duplicate_id"),
    ]


def test_output_that_holds_something_else(refused, tmp_path, good):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.docx").write_text("years of work")
    assert "holds files that no job here wrote" in refused(table=good)
    assert (tmp_path / "out" / "thesis.docx").read_text() == "years of work"


def test_output_of_which_job_json_is_damaged(refused, tmp_path, good):
    (tmp_path / "out" / "_xlm").mkdir(parents=True)
    (tmp_path / "out" / "_xlm" / "job.json").write_text("{")
    assert "job.json: damaged" in refused(table=good)


def test_output_of_which_job_json_says_nothing(refused, tmp_path, good):
    (tmp_path / "out" / "_xlm").mkdir(parents=True)
    for content in ("null", "[]", "{}"):
        (tmp_path / "out" / "_xlm" / "job.json").write_text(content)
        assert "job.json: damaged" in refused(table=good)


def test_output_that_is_a_file_or_below_one(refused, tmp_path, good):
    (tmp_path / "file").write_text("no directory")
    for path in (tmp_path / "file", tmp_path / "file" / "out"):
        assert "no place for results" in refused(f"output.path={path}", table=good)


def test_output_within_the_input(refused, tmp_path, good):
    """Else the next run would take this one's results for input."""
    (tmp_path / "corpus").mkdir()
    pq.write_table(good, tmp_path / "corpus" / "a.parquet")
    for path in (tmp_path / "corpus" / "out", tmp_path / "corpus"):
        said = refused(f"input.path={tmp_path}/corpus", f"output.path={path}")
        assert "lies within input.path" in said


def test_ledger_that_is_damaged(refused, tmp_path, good, spec, make_job):
    pq.write_table(good, tmp_path / "in.parquet")
    (tmp_path / "out" / "_xlm" / "ledger").mkdir(parents=True)
    (tmp_path / "out" / "_xlm" / "ledger" / "0.parquet").write_bytes(b"PAR1 no more")
    assert "a damaged file of the ledger; delete it" in refused()
    pq.write_table(good, tmp_path / "out" / "_xlm" / "ledger" / "0.parquet")
    assert "a damaged file of the ledger; delete it" in refused()


def test_output_in_memory(refused, good):
    assert "memory:// lives in one process" in refused("output.path=memory://out", table=good)


@pytest.mark.parametrize("file", ["config.json", "model.safetensors", "vocab.json", "merges.txt"])
def test_checkpoint_without_a_file(refused, demo, tmp_path, good, file):
    shutil.copytree(demo / "checkpoint", tmp_path / "checkpoint")
    (tmp_path / "checkpoint" / file).unlink()
    said = refused(f"model.checkpoint={tmp_path}/checkpoint", table=good)
    assert str(tmp_path / "checkpoint") in said


def test_checkpoint_that_is_not_there(refused, tmp_path, good):
    for url, says in {
        f"{tmp_path}/nowhere": "no such checkpoint directory",
        f"{tmp_path}/in.parquet": "no such checkpoint directory",
        "memory://nowhere": "no such directory, or no file in it; name the directory that holds the checkpoint's",
        "hf://a": "no such form; write hf://org/name",
    }.items():
        said = refused(f"model.checkpoint={url}", table=good)
        assert url in said
        assert says in said
        assert len(said.splitlines()) == 1


def test_checkpoint_with_wrong_shapes(refused, demo, tmp_path, good):
    shutil.copytree(demo / "checkpoint", tmp_path / "checkpoint")
    path = tmp_path / "checkpoint" / "model.safetensors"
    tensors = load_file(path)
    names = sorted(tensors)
    wrong, gone = names[0], names[1]
    tensors[wrong] = torch.zeros(3, 5)
    del tensors[gone]
    tensors["surplus.weight"] = torch.zeros(1)
    save_file(tensors, path)
    said = refused(f"model.checkpoint={tmp_path}/checkpoint", table=good)
    assert all(name in said for name in (wrong, gone, "surplus.weight", "[3, 5]"))
    assert len(said.strip().splitlines()) == 1


def test_checkpoint_that_is_cut_off(refused, demo, tmp_path, good):
    shutil.copytree(demo / "checkpoint", tmp_path / "checkpoint")
    path = tmp_path / "checkpoint" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    assert "model.safetensors" in refused(f"model.checkpoint={tmp_path}/checkpoint", table=good)


def test_vocabulary_that_is_larger_than_the_model(refused, demo, tmp_path, good):
    shutil.copytree(demo / "checkpoint", tmp_path / "checkpoint")
    path = tmp_path / "checkpoint" / "vocab.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"newcomer": 99_999}))
    said = refused(f"model.checkpoint={tmp_path}/checkpoint", table=good)
    assert "vocab.json goes up to id 99999" in said


def test_more_positions_than_the_model_has(refused, good):
    assert "tokenizer.max_length is 129, but" in refused("tokenizer.max_length=129", table=good)


def test_head_that_is_none(refused, demo, good):
    said = refused(table=good, tasks=[{"text-classification": {"head": str(demo / "heads" / "upos")}}])
    assert "sequence_summary" in said


def test_head_of_another_width(refused, demo, tmp_path, good):
    from xlm_core import SequenceClassificationHead, XLMConfig

    config = XLMConfig.from_dict(json.loads((demo / "heads" / "topic" / "config.json").read_text()) | {"emb_dim": 32})
    SequenceClassificationHead(config).save_pretrained(tmp_path / "head")
    said = refused(table=good, tasks=[{"text-classification": {"head": str(tmp_path / "head")}}])
    assert "made for a model of width 32, but the checkpoint's is 64" in said


def test_head_that_was_trained_over_another_trunk(refused, demo, tmp_path, good):
    from xlm_core import XLMConfig, XLMForSequenceClassification

    XLMForSequenceClassification(XLMConfig.from_pretrained(demo / "heads" / "topic")).save_pretrained(tmp_path / "head")
    said = refused(table=good, tasks=[{"text-classification": {"head": str(tmp_path / "head")}}])
    assert "trained over another trunk" in said


def test_fixed_language_that_the_checkpoint_lacks(refused, good):
    said = refused("input.lang={fixed: tlh}", table=good)
    assert "the checkpoint knows no language 'tlh'; it knows ar, bg, de" in said


def test_japanese_without_a_model(refused, good):
    said = refused("input.lang={fixed: ja}", "tokenizer.ja=kytea", table=good)
    assert "set tokenizer.kytea_model to a model file, or tokenizer.ja to fugashi" in said


def test_spec_with_typos(refused, good):
    said = refused(table=good, tokenizer={"max_lenght": 5}, inputs={})
    assert "tokenizer.max_lenght is not a setting; did you mean max_length?" in said
    assert "did you mean input?" in said


def test_spec_that_is_not_there(capsys):
    assert main(["run", "/nowhere/job.yaml"]) == UNUSABLE
    assert "/nowhere/job.yaml" in capsys.readouterr().err


def test_language_no(refused, good):
    said = refused("input.lang={fixed: no}", table=good)
    assert "YAML reads no as false" in said


ROWS = [
    ("fine", "en", "A good row.", None),
    ("null", "en", None, "null_text"),
    ("empty", "en", "", "empty_text"),
    ("blank", "en", " \u3000\t\r\n", "empty_text"),
    ("control", "en", "\u200b\u2060\ufeff", "empty_text"),
    ("marks", "en", "\u0301\u0302", "empty_text"),
    ("utf8", "en", b"caf\xe9", "invalid_utf8"),
    ("surrogate", "en", b"\xed\xa0\x80", "invalid_utf8"),
    ("long", "en", "ten MB of text " * 700_000, "too_many_chars"),
    ("lang", "tlh", "nuqneH", "unknown_lang"),
    ("no-lang", None, "no language", "null_lang"),
    ("bad-lang", b"\xff", "not a code", "null_lang"),
    (None, "en", "no id", "null_id"),
    (b"\xfe\xff", "en", "an id of odd bytes", "invalid_utf8"),
    ("injection", "en", "</s> <special1> <pad>", None),
    ("nul", "en", "zero \x00 byte", None),
    ("emoji", "zh", "👩‍👩‍👧🏽 ✅", None),
    ("script", "en", "Γειά שלום こんにちは สวัสดี", None),
    ("alias", "zh_Hans-CN", "你好，世界", None),
    ("one-word", "th", "ก" * 5000, None),
]


def as_bytes(column: list[str | bytes | None]) -> pa.Array:
    raw = [value.encode() if isinstance(value, str) else value for value in column]
    return pa.array(raw, pa.binary()).view(pa.string())


@pytest.mark.parametrize("kind", ["string", "large_string", "dictionary"])
def test_bad_rows_are_rejected_with_a_reason(make_job, demo, tmp_path, kind):
    """Each row by itself: its neighbours are not touched, and no reason quotes the text."""
    ids, langs, texts, reasons = (list(column) for column in zip(*ROWS, strict=True))
    text = as_bytes(texts)
    if kind == "large_string":
        text = text.view(pa.binary()).cast(pa.large_binary()).view(pa.large_string())
    elif kind == "dictionary":
        codes = pa.array([None if t is None else i for i, t in enumerate(texts)], pa.int32())
        text = pa.DictionaryArray.from_arrays(codes, text.fill_null(""))
    table = pa.table({"id": as_bytes(ids), "lang": as_bytes(langs), "text": text})
    pq.write_table(table, tmp_path / "in.parquet")
    job = make_job(
        input={"path": str(tmp_path / "in.parquet"), "id": "id", "text": "text", "lang": "lang", "keep": ["lang"]}
    )
    (record,) = run_stages(job)
    assert record["error"] is None
    assert record["rows_in"] == len(ROWS)
    found = read_output(job.output.path)["id"].to_pylist()
    assert found == [row_id for row_id, reason in zip(ids, reasons, strict=True) if reason is None]
    rejected = read_rejected(job.output.path)
    assert {row["row"]: row["reason"] for row in rejected} == {i: r for i, r in enumerate(reasons) if r is not None}
    assert len(rejected) == record["rows_rejected"] == sum(reason is not None for reason in reasons)
    assert all(row["detail"] and len(row["detail"]) < 200 for row in rejected)
    assert not any("ten MB" in row["detail"] or "caf" in row["detail"] for row in rejected)


def test_rows_with_too_many_tokens(make_job, tmp_path):
    """Cut off and counted, or rejected, as the job says."""
    table = pa.table({"id": ["short", "long"], "text": ["One.", "many words " * 200], "lang": ["en", "en"]})
    pq.write_table(table, tmp_path / "in.parquet")
    spec = {"path": str(tmp_path / "in.parquet"), "id": "id", "text": "text", "lang": "lang"}
    job = make_job(input=spec, tasks=["feature-extraction"])
    (record,) = run_stages(job)
    assert (record["rows_out"], record["rows_truncated"]) == (2, 1)
    job = make_job(
        input=spec, tasks=["feature-extraction"], tokenizer__on_overflow="reject", output__path=str(tmp_path / "2")
    )
    (record,) = run_stages(job)
    assert (record["rows_out"], record["rows_truncated"], record["reasons"]) == (1, 0, {"too_many_tokens": 1})
