"""`xlm diff`: two outputs of the real stages, against a plain computation row by row."""

import copy
import io
import itertools
import json
import math
import shutil
from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from rich.console import Console
from safetensors.torch import load_file, save_file

from jobs.commands.diff import diff_outputs
from pipelines.diff import compare_outputs, row_index
from pipelines.errors import FatalError
from pipelines.job.job import Job
from pipelines.output.directory import Output
from pipelines.run.prepare import prepare
from pipelines.storage import locate
from tests.flow.heads import write_checkpoints
from tests.flow.in_process import read_output, run_to_records


@pytest.fixture(scope="session")
def parts(demo, tmp_path_factory):
    """The trunk `lm` and heads, and each again with weights that are a little off: `lm2`, `topic2`, `tags2`."""
    folder = tmp_path_factory.mktemp("heads")
    write_checkpoints(demo, folder)
    torch.manual_seed(0)
    for name, scale in (("lm", 0.01), ("heads/topic", 0.3), ("heads/tags", 0.05)):
        other = folder / f"{name}2"
        shutil.copytree(folder / name, other)
        weights = load_file(other / "model.safetensors")
        off = {key: value + scale * torch.randn_like(value) for key, value in weights.items()}
        save_file(off, other / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.fixture(scope="session")
def rows(corpus):
    """60 sentences of six languages."""
    return [row for row in corpus if row["lang"] in ("de", "en", "ru", "ar", "sw", "zh")][::2]


@pytest.fixture(scope="session")
def run(demo, parts, tmp_path_factory):
    """Run a job over rows, and give its output's path; rows are computed alone, so that equal jobs give equal bits."""
    base = yaml.safe_load((demo / "job.yaml").read_text(encoding="utf-8"))
    number = itertools.count()

    def run(rows, *tasks, checkpoint="lm", path=None, **changes):
        folder = tmp_path_factory.mktemp(f"diff-{next(number)}")
        path = path or folder / "in.parquet"
        pq.write_table(pa.Table.from_pylist(rows), path)
        spec = copy.deepcopy(base) | {"tasks": list(tasks), "batch": {"invariant": True}}
        spec["input"] = {"path": str(path), "id": "id", "text": "text", "lang": "lang", "keep": ["lang"]}
        spec["model"] = {"checkpoint": str(parts / checkpoint)}
        spec["output"] = {"path": str(folder / "out"), "rows_per_shard": 40}
        for name, value in changes.items():
            section, _, setting = name.partition("__")
            spec[section][setting] = value
        job = Job.model_validate(spec)
        records = run_to_records(job)
        prepared = prepare(job)
        output = Output(prepared.output)
        output.begin(prepared.description, prepared.plan.shards)
        output.ledger.append(records)
        (output.location / "_SUCCESS").put(b"")
        return job.output.path

    return run


@pytest.fixture(scope="session")
def every_task(parts):
    """Tasks with all their columns, and with the heads whose weights are off."""

    def tasks(other=""):
        heads = parts / "heads"
        return [
            {"feature-extraction": {}},
            {"feature-extraction": {"name": "w", "windows": "each"}},
            {"text-classification": {"head": str(heads / f"topic{other}"), "top_k": 2, "scores": True}},
            {"token-classification": {"head": str(heads / f"tags{other}")}},
            {"token-classification": {"head": str(heads / f"tags{other}"), "aggregate": "entity", "name": "ner"}},
            "lm-scoring",
        ]

    return tasks


@pytest.fixture(scope="session")
def runs(run, rows, every_task):
    """Two runs of one corpus: other weights, other shards, another order."""
    windows = {"tokenizer__max_length": 24, "tokenizer__on_overflow": "window", "tokenizer__overlap_tokens": 4}
    a = run(rows, *every_task(), **windows)
    b = run(rows[::-1], *every_task("2"), checkpoint="lm2", output__rows_per_shard=7, **windows)
    return a, b


def compare(a, b):
    return compare_outputs(locate(a), locate(b))


def printed(a, b, **settings):
    buffer = io.StringIO()
    diff_outputs(a, b, Console(file=buffer, soft_wrap="width" not in settings, **settings))
    return buffer.getvalue()


def by_id(path, key="id"):
    return {row[key]: row for row in read_output(path).to_pylist()}


def cosine(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True)) / math.dist(a, [0] * len(a)) / math.dist(b, [0] * len(b))


def test_two_outputs_of_one_job_show_no_difference(run, rows, every_task):
    *tasks, scoring = every_task()
    tasks = [*tasks, {scoring: {"name": "lm"}}]
    a = run(rows, *tasks, output__token_counts=True)
    b = run(rows[::-1], *tasks, output__token_counts=True, output__rows_per_shard=7)
    diff = compare(a, b)
    assert (diff.total.both, diff.total.only_a, diff.total.only_b) == (len(rows), 0, 0)
    assert diff.settings == ["rows_per_shard"]
    assert all(column.total.is_same and column.total.rows == len(rows) for column in diff.columns)
    columns = [name for name in read_output(a).schema.names if name not in ("id", "lang")]
    assert [column.name for column in diff.columns] == columns
    text = printed(a, b)
    assert f"{len(rows)} rows in both, none in one alone" in text
    assert f"the same in all {len(rows)} rows: {', '.join(columns)}\n" in text


def test_every_measure_is_that_of_a_plain_computation(runs):
    a, b = map(by_id, runs)
    diff = compare(*runs)
    found = {column.name: column for column in diff.columns}
    assert diff.settings == ["rows_per_shard", "checkpoint", "heads"]
    groups = {None: list(a)} | {
        lang: [i for i in a if a[i]["lang"] == lang] for lang in {r["lang"] for r in a.values()}
    }
    assert diff.langs.keys() == groups.keys() - {None}
    for lang, ids in groups.items():
        tally = {name: column.total if lang is None else column.langs[lang] for name, column in found.items()}
        assert (diff.total if lang is None else diff.langs[lang]).both == len(ids)
        assert {t.rows for t in tally.values()} == {len(ids)}
        cosines = {i: cosine(a[i]["embedding"], b[i]["embedding"]) for i in ids}
        least = {
            i: min(cosine(x, y) for x, y in zip(a[i]["w_embeddings"], b[i]["w_embeddings"], strict=True)) for i in ids
        }
        for name, values in (("embedding", cosines), ("w_embeddings", least)):
            assert tally[name].mean == pytest.approx(np.mean(list(values.values())), abs=1e-6)
            assert tally[name].first_percentile == pytest.approx(np.percentile(list(values.values()), 1), abs=1e-6)
            assert (tally[name].least, tally[name].least_id) == (
                pytest.approx(min(values.values()), abs=1e-6),
                min(values, key=values.__getitem__),
            )
        changes = Counter((a[i]["label"], b[i]["label"]) for i in ids if a[i]["label"] != b[i]["label"])
        assert (tally["label"].changed, tally["label"].changes) == (changes.total(), changes)
        for name in ("score", "log_likelihood", "perplexity", "num_tokens"):
            gaps = {i: abs(a[i][name] - b[i][name]) for i in ids}
            assert tally[name].gap == pytest.approx(max(gaps.values()))
            assert tally[name].gap_id == (max(gaps, key=gaps.__getitem__) if any(gaps.values()) else None)
            assert tally[name].changed == sum(gap > 0 for gap in gaps.values())
        gaps = {i: max(abs(x - y) for x, y in zip(a[i]["scores"], b[i]["scores"], strict=True)) for i in ids}
        assert (tally["scores"].gap, tally["scores"].gap_id) == (max(gaps.values()), max(gaps, key=gaps.__getitem__))
        for name, parts in (("words", ("label", "start", "end")), ("ner_entities", ("label", "start", "end"))):
            told = {i: [[[s[p] for p in parts] for s in side[i][name]] for side in (a, b)] for i in ids}
            assert tally[name].changed == sum(x != y for x, y in told.values())
            gap = max(
                (
                    abs(x["score"] - y["score"])
                    for i in ids
                    if told[i][0] == told[i][1]
                    for x, y in zip(a[i][name], b[i][name], strict=True)
                ),
                default=0,
            )
            assert tally[name].gap == gap
        tops = [[{pair["label"] for pair in side[i]["top"]} for side in (a, b)] for i in ids]
        assert tally["top"].changed == sum(x != y for x, y in tops)
    for name in ("embedding", "label", "words", "ner_entities", "top"):
        assert found[name].total.changed, name  # else the above has shown little


def test_rows_that_only_one_has(run, rows, parts):
    """Of those, the ones that the other rejected are told apart, with their reasons, by language."""
    task = {"text-classification": {"head": str(parts / "heads" / "topic")}}
    short = [*rows[:6], {"id": "odd", "lang": "de", "text": " "}, {"id": "tongue", "lang": "tlh", "text": "nuqneH"}]
    a = run([*rows[:6], rows[6], {"id": "odd", "lang": "de", "text": "hier"}], task, tokenizer__max_length=100)
    b = run([*short, rows[7], rows[8]], task, tokenizer__max_length=16, tokenizer__on_overflow="reject")
    in_a, in_b = by_id(a), by_id(b)
    too_long = in_a.keys() & {row["id"] for row in rows[:6]} - in_b.keys()
    assert 0 < len(too_long) < 6
    only_b = in_b.keys() - in_a.keys()
    diff = compare(a, b)
    assert diff.total.both == len(in_a.keys() & in_b.keys())
    assert diff.total.only_a == len(in_a.keys() - in_b.keys()) == len(too_long) + 2
    assert diff.total.rejected_in_b == {"too_many_tokens": len(too_long), "empty_text": 1}
    assert (diff.total.only_b, diff.total.rejected_in_a) == (len(only_b), {})
    assert only_b <= {rows[7]["id"], rows[8]["id"]}
    for lang, counts in diff.langs.items():
        here = {i for i, row in in_a.items() if row["lang"] == lang}
        assert counts.only_a == len(here - in_b.keys())
        assert counts.both == len(here & in_b.keys())
        assert counts.rejected_in_b["too_many_tokens"] == len(here & too_long)
        assert counts.only_b == sum(in_b[i]["lang"] == lang for i in only_b)
    other_way = compare(b, a)
    assert other_way.total.rejected_in_a == diff.total.rejected_in_b
    text = printed(a, b)
    assert f"only in A, rejected in B: too_many_tokens {len(too_long)}, empty_text 1" in text


def test_vectors_of_other_number_types_are_compared(run, rows):
    floats = run(rows, {"feature-extraction": {}})
    spec = {"float16": {}, "int8": {"calibration": floats}, "binary": {}}
    outputs = {name: run(rows, {"feature-extraction": {"dtype": name, **more}}) for name, more in spec.items()}
    table, vectors = read_output(floats), {i: np.array(row["embedding"]) for i, row in by_id(floats).items()}
    low, high = (np.array(list(vectors.values())).min(0), np.array(list(vectors.values())).max(0))
    for name, output in outputs.items():
        (column,) = compare(floats, output).columns
        other = {i: np.array(row["embedding"]) for i, row in by_id(output).items()}
        if name == "binary":
            signs = {i: np.packbits(vector > 0) for i, vector in vectors.items()}
            shares = [
                1 - sum(int(x ^ y).bit_count() for x, y in zip(signs[i], other[i], strict=True)) / 64 for i in signs
            ]
            assert (column.comparison.similarity, column.total.mean) == ("equal bits", np.mean(shares))
            assert column.total.is_same
        else:
            back = {i: (v + 128.0) / 255 * (high - low) + low if name == "int8" else v for i, v in other.items()}
            cosines = [cosine(vectors[i], back[i]) for i in vectors]
            assert column.total.mean == pytest.approx(np.mean(cosines), abs=1e-6)
            assert (column.comparison.similarity, column.total.changed) == ("cosine", len(table))
            assert column.total.least > 0.999
        shown = {"float16": "float16[64]", "int8": "int8[64]", "binary": "uint8[8]"}[name]
        assert name == "binary" or f"float32[64] in A, {shown} in B" in printed(floats, output)


def test_columns_that_cannot_be_compared_are_named(run, rows, parts):
    short = run(rows[:5], {"feature-extraction": {"truncate_dim": 32}}, "lm-scoring", input__keep=["lang", "topic"])
    text = printed(run(rows[:5], {"feature-extraction": {}}), short)
    assert "not compared: embedding, which is float32[64] in A and float32[32] in B" in text
    assert "columns only in B: topic, num_tokens, log_likelihood, perplexity" in text


def test_without_an_id_rows_are_found_by_file_and_row(run, rows, tmp_path):
    path = tmp_path / "in.parquet"
    a = run(rows, {"feature-extraction": {}}, path=path, input__id=None)
    b = run(rows, {"feature-extraction": {}}, path=path, input__id=None, checkpoint="lm2", output__rows_per_shard=7)
    before, after = (by_id(output, "row") for output in (a, b))
    cosines = {i: cosine(before[i]["embedding"], after[i]["embedding"]) for i in before}
    worst = min(cosines, key=cosines.__getitem__)
    diff = compare(a, b)
    assert (diff.total.both, diff.columns[0].total.least_id) == (len(rows), f"{path}\n{worst}")
    assert f" {worst} of in.parquet" in printed(a, b)
    with pytest.raises(FatalError, match=r"identified by file and row there and by id here"):
        compare(a, run(rows[:3], {"feature-extraction": {}}))


def test_ids_are_compared_as_text_whatever_their_type(run, rows):
    numbered = [row | {"id": 10**12 + i} for i, row in enumerate(rows[:9])]
    a = run(numbered, {"feature-extraction": {}})
    b = run([row | {"id": str(row["id"])} for row in numbered[::-1]], {"feature-extraction": {}})
    diff = compare(a, b)
    assert (diff.total.both, diff.total.only_a, diff.total.only_b) == (9, 0, 0)
    assert diff.columns[0].total.is_same


def test_of_rows_with_one_id_the_first_counts(run, rows):
    again = [*rows[:8], {"id": rows[0]["id"], "lang": "de", "text": "etwas ganz anderes"}]
    a = run(again, {"feature-extraction": {}}, policy__duplicate_ids="ignore")
    b = run([*rows[:8], rows[3]], {"feature-extraction": {}}, policy__duplicate_ids="ignore", output__rows_per_shard=2)
    diff = compare(a, b)
    assert (diff.a.num_repeats, diff.b.num_repeats) == (1, 1)
    assert (diff.total.both, diff.total.only_a, diff.total.only_b) == (8, 0, 0)
    assert diff.columns[0].total.is_same
    assert "9 rows, complete; 1 row with the id of an earlier one passed over" in printed(a, b)


def test_equal_hashes_do_not_make_equal_ids(runs, monkeypatch):
    expected = compare(*runs)
    monkeypatch.setattr(
        row_index, "_hash", lambda ids: np.array([len(i or "") % 2 for i in ids.to_pylist()], np.uint64)
    )
    found = compare(*runs)
    assert [c.total.least_id for c in found.columns] == [c.total.least_id for c in expected.columns]
    assert (found.total, found.langs) == (expected.total, expected.langs)
    assert found.a.num_repeats == 0


def test_few_parts_are_held_and_no_row_depends_on_it(runs, monkeypatch):
    expected = compare(*runs)
    monkeypatch.setattr(row_index, "_CACHE_BYTES", 1)
    found = compare(*runs)
    for ours, theirs in zip(found.columns, expected.columns, strict=True):
        assert ours.total.mean == pytest.approx(theirs.total.mean, nan_ok=True)
        assert (ours.total.changed, ours.total.gap) == (theirs.total.changed, theirs.total.gap)
    assert len(found.b.rows._held) == 1


def test_languages_need_a_column_that_was_kept(run, rows):
    kept = run(rows[:12], {"feature-extraction": {}})
    dropped = run(rows[:12], {"feature-extraction": {}}, input__keep=[])
    assert list(compare(kept, dropped).langs) == ["all"]
    assert f"languages are not told apart: {dropped} did not keep the column lang, its input.lang" in printed(
        kept, dropped
    )
    fixed = run([row for row in rows if row["lang"] == "de"], {"feature-extraction": {}}, input__lang={"fixed": "de"})
    assert list(compare(fixed, fixed).langs) == ["de"]


def test_codes_that_the_checkpoint_lacks_are_one_language(run, rows):
    """A wrong input.lang makes a language of any text; it is not kept, and never printed."""
    odd = [row | {"lang": f"secret text {i}"} for i, row in enumerate(rows[:4])] + rows[4:8]
    a = run(odd, {"feature-extraction": {}}, policy__unknown_lang="neutral")
    b = run(odd, {"feature-extraction": {}}, policy__unknown_lang="neutral", checkpoint="lm2")
    assert compare(a, b).langs["und"].both == 4
    assert "secret" not in printed(a, b)


@pytest.mark.parametrize("width", [80, 120, 200])
def test_tables_fit_their_terminal_and_hold_no_text_of_a_row(runs, rows, width):
    text = printed(*runs, width=width, force_terminal=True, color_system=None)
    lines = [line for line in text.splitlines() if "\x1b" not in line]
    tables = [line for line in lines if line.startswith(("all ", "de ", "lang "))]
    assert tables
    assert max(map(len, tables)) <= width
    assert all(row["text"] not in text and row["text"].split()[0] not in text.split() for row in rows)
    (label,) = [line for line in lines if line.startswith("lang ") and "most frequent changes" in line]
    assert lines[lines.index(label) + 1].startswith("all ")


def test_labels_cannot_command_the_terminal(run, rows, parts, tmp_path):
    """They come with a checkpoint, which may be anybody's."""
    urls = []
    for name, labels in (("a", ["[red]x[/]", "\x1b[31my", "z\u202e"]), ("b", ["1", "2", "[/]"])):
        folder = tmp_path / name
        shutil.copytree(parts / "heads" / "topic", folder)
        config = json.loads((folder / "config.json").read_text())
        config |= {"id2label": dict(enumerate(labels)), "label2id": {label: i for i, label in enumerate(labels)}}
        (folder / "config.json").write_text(json.dumps(config))
        urls.append(run(rows[:30], {"text-classification": {"head": str(folder)}}))
    text = printed(*urls)
    assert not {"\x1b", "\u202e"} & set(text)
    label = next(column for column in compare(*urls).columns if column.name == "label").total
    assert label.changed == 30
    assert ("[red]x[/] → 1" in text) == (("[red]x[/]", "1") in label.changes)
    assert ("z\\u202e → [/]" in text) == (("z\u202e", "[/]") in label.changes)


def test_a_pipe_gets_whole_lines_without_escapes(runs):
    diff = compare(*runs)
    text = printed(*runs)
    assert "\x1b" not in text
    labels = next(column for column in diff.columns if column.name == "label").total
    (most, count), *_ = sorted(labels.changes.items(), key=lambda item: (-item[1], item[0]))
    assert f"{most[0]} → {most[1]} {count}" in text
    assert next(column for column in diff.columns if column.name == "embedding").total.least_id in text


def test_what_is_no_output_is_one_line(run, rows, tmp_path):
    good = run(rows[:20], {"feature-extraction": {}}, output__rows_per_shard=9)
    with pytest.raises(FatalError, match=r"nowhere: not the output of a job \(it has no _xlm/job.json\)"):
        compare(good, str(tmp_path / "nowhere"))
    broken = tmp_path / "broken"
    for act, message in (
        (lambda part: part.unlink(), "gone, though the ledger has it; run the job again"),
        (lambda part: part.write_bytes(part.read_bytes()[:300]), "damaged; delete it, and run the job again"),
        (lambda part: pq.write_table(pq.read_table(part).slice(1), part), r"has \d rows, but \d in the ledger"),
    ):
        shutil.rmtree(broken, ignore_errors=True)
        shutil.copytree(good, broken)
        act(sorted(broken.glob("part-*"))[-1])
        with pytest.raises(FatalError, match=message):
            compare(good, str(broken))
    shutil.rmtree(broken / "_xlm" / "ledger")
    with pytest.raises(FatalError, match="no results yet"):
        compare(str(broken), good)


def test_an_output_that_grows_is_compared_as_far_as_it_is(run, rows, tmp_path):
    whole = run(rows[:20], {"feature-extraction": {}}, output__rows_per_shard=9)
    begun = tmp_path / "begun"
    shutil.copytree(whole, begun)
    output = Output(locate(str(begun)))
    output.mark_incomplete()
    first, *_ = output.ledger.load().values()
    output.ledger.replace([first])
    diff = compare(str(begun), whole)
    assert (diff.total.both, diff.total.only_a, diff.total.only_b) == (first["rows_out"], 0, 20 - first["rows_out"])
    assert f"{first['rows_out']} rows, incomplete (1 of 3 shards)" in printed(str(begun), whole)
