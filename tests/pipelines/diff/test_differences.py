"""The measured differences of columns equal a row-by-row computation, for every task and type."""

from collections import Counter

import numpy as np
import pytest

from tests.flow.in_process import read_output
from tests.pipelines.diff.comparing import by_id, compare, cosine, format_diff

pytestmark = pytest.mark.long


def test_outputs_of_the_same_job_do_not_differ(run, rows, every_task):
    *tasks, scoring = every_task()
    tasks = [*tasks, {scoring: {"prefix": "lm_"}}]
    a = run(rows, *tasks, output__token_counts=True)
    b = run(rows[::-1], *tasks, output__token_counts=True, output__rows_per_shard=7)
    diff = compare(a, b)
    assert (diff.total.both, diff.total.only_a, diff.total.only_b) == (len(rows), 0, 0)
    assert diff.settings == ["rows_per_shard"]
    assert all(column.total.is_same and column.total.rows == len(rows) for column in diff.columns)
    columns = [name for name in read_output(a).schema.names if name not in ("id", "lang")]
    assert [column.name for column in diff.columns] == columns
    text = format_diff(a, b)
    assert f"{len(rows)} rows in both, none in only one" in text
    assert f"the same in all {len(rows)} rows: {', '.join(columns)}\n" in text


def test_every_measure_equals_a_row_by_row_computation(runs):
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
            assert tally[name].mean_similarity == pytest.approx(np.mean(list(values.values())), abs=1e-6)
            assert tally[name].first_percentile == pytest.approx(np.percentile(list(values.values()), 1), abs=1e-6)
            assert (tally[name].min_similarity, tally[name].min_similarity_id) == (
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
            spans = {i: [[[s[p] for p in parts] for s in side[i][name]] for side in (a, b)] for i in ids}
            assert tally[name].changed == sum(x != y for x, y in spans.values())
            gap = max(
                (
                    abs(x["score"] - y["score"])
                    for i in ids
                    if spans[i][0] == spans[i][1]
                    for x, y in zip(a[i][name], b[i][name], strict=True)
                ),
                default=0,
            )
            assert tally[name].gap == gap
        tops = [[{pair["label"] for pair in side[i]["top"]} for side in (a, b)] for i in ids]
        assert tally["top"].changed == sum(x != y for x, y in tops)
    for name in ("embedding", "label", "words", "ner_entities", "top"):
        assert found[name].total.changed, name  # else the comparison above proves little


def test_vectors_of_different_number_types_are_compared(run, rows):
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
            assert (column.comparison.similarity, column.total.mean_similarity) == ("equal bits", np.mean(shares))
            assert column.total.is_same
        else:
            back = {i: (v + 128.0) / 255 * (high - low) + low if name == "int8" else v for i, v in other.items()}
            cosines = [cosine(vectors[i], back[i]) for i in vectors]
            assert column.total.mean_similarity == pytest.approx(np.mean(cosines), abs=1e-6)
            assert (column.comparison.similarity, column.total.changed) == ("cosine", len(table))
            assert column.total.min_similarity > 0.999
        shown = {"float16": "float16[64]", "int8": "int8[64]", "binary": "uint8[8]"}[name]
        assert name == "binary" or f"float32[64] in A, {shown} in B" in format_diff(floats, output)


def test_columns_that_cannot_be_compared_are_listed(run, rows, checkpoints):
    short = run(rows[:5], {"feature-extraction": {"truncate_dim": 32}}, "lm-scoring", input__keep=["lang", "topic"])
    text = format_diff(run(rows[:5], {"feature-extraction": {}}), short)
    assert "not compared: embedding, which is float32[64] in A and float32[32] in B" in text
    assert "columns only in B: topic, num_tokens, log_likelihood, perplexity" in text
