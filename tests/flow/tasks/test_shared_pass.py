"""What holds for the tasks of a job together: one pass over distinct rows, counts, failures, checkpoint locations."""

import shutil
from typing import Any

import fsspec
import pytest
import torch

from pipelines.errors import FatalError
from tests.flow.in_process import run_stages
from xlm_core import PackedBatch, XLMModel


def test_token_counts_of_rows_add_up_to_those_of_the_ledger(run_rows, rows, tokenizer):
    unusual = [*rows, {"id": "unusual", "lang": "en", "text": "\U0001f9ff \U0001f9ff strange"}]
    found = run_rows(unusual, ["feature-extraction"], output__token_counts=True, tokenizer__max_length=12)
    for row in unusual:
        size = len(tokenizer.encode_batch([row["text"]], [row["lang"]]).input_ids)
        out = found[row["id"]]
        assert (out["num_tokens"], out["num_truncated"]) == (size, max(size - 12, 0))
    assert found["unusual"]["num_unknown"] == 2
    langs = [lang for record in run_rows.records for lang in record.langs]
    assert sum(lang.truncated for lang in langs) == sum(row["num_truncated"] for row in found.values())
    assert sum(lang.unknown for lang in langs) == sum(row["num_unknown"] for row in found.values())


def test_identical_rows_are_computed_once_with_identical_results(run_rows, rows, monkeypatch):
    run = XLMModel.forward_packed
    sizes: list[int] = []

    def counted(self: XLMModel, batch: PackedBatch, **options: Any) -> Any:
        sizes.append(len(batch.lengths))
        return run(self, batch, **options)

    monkeypatch.setattr(XLMModel, "forward_packed", counted)
    many = [row | {"id": f"{row['id']}-{i}"} for i in range(5) for row in rows[:8]]
    found = run_rows(many, ["feature-extraction"])
    assert sum(sizes) == 8
    assert all(
        found[f"{row['id']}-{i}"]["embedding"] == found[f"{row['id']}-0"]["embedding"]
        for row in rows[:8]
        for i in range(5)
    )
    assert len({tuple(row["embedding"]) for row in found.values()}) == 8


def test_checkpoint_in_a_store_gives_the_results_of_a_local_one(run_rows, rows, checkpoints, tmp_path, monkeypatch):
    monkeypatch.setenv("XLM_CACHE", str(tmp_path / "cache"))
    store = fsspec.filesystem("memory")
    for folder in ("lm", "heads/topic"):
        store.put(str(checkpoints / folder), f"/checkpoints/{folder}", recursive=True)
    url = "memory://checkpoints"
    there = run_rows(
        rows, [{"text-classification": {"head": f"{url}/heads/topic"}}, "lm-scoring"], model={"checkpoint": f"{url}/lm"}
    )
    here = run_rows(rows, [{"text-classification": {"head": str(checkpoints / "heads" / "topic")}}, "lm-scoring"])
    assert there == here


def test_shard_fails_if_the_output_of_the_model_is_not_finite(make_job, demo, tmp_path):
    folder = tmp_path / "broken"
    shutil.copytree(demo / "checkpoint", folder)
    model = XLMModel.from_pretrained(folder)
    with torch.no_grad():
        model.layer_norm_emb.weight[3] = 3e38  # finite, but its products are not
    model.save_pretrained(folder)
    results = run_stages(make_job(model={"checkpoint": str(folder)}, tasks=["feature-extraction"]))
    for result in results:
        assert result.failure is not None
        assert "not finite in torch.float32; set model.precision" in result.failure.message


def test_tasks_that_do_not_fit_the_checkpoint_or_the_columns_are_refused(run_rows, rows, checkpoints):
    choices = [row | {"choice": row["text"]} for row in rows]
    head = {"head": str(checkpoints / "heads" / "choice")}
    with pytest.raises(FatalError, match=r"choice is (large_)?string, one choice a row; name a column of lists"):
        run_rows(choices, [{"multiple-choice": head}], text=["text", "choice"])
    with pytest.raises(FatalError, match=r"fill-mask: the model is causal and cannot use the text after a mask"):
        run_rows(rows, ["fill-mask"], model={"objective": "causal"})
    with pytest.raises(FatalError, match=r"text-classification: head .*nowhere: no such"):
        run_rows(rows, [{"text-classification": {"head": str(checkpoints / "nowhere")}}])
