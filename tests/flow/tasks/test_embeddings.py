"""feature-extraction gives the vectors of the library for each row alone, in every number type."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from pipelines.errors import FatalError
from tests.flow.tasks.encoded_rows import encode_row
from xlm_core import POOLINGS, XLMModel


@torch.inference_mode()
def test_embeddings_of_layers_truncated_binary_and_int8_match_the_library(run_rows, rows, checkpoints, tokenizer):
    model = XLMModel.from_pretrained(checkpoints / "lm")
    settings = {"layer": [0, -1], "pooling": "mean", "truncate_dim": 24}
    floats = run_rows(rows, [{"feature-extraction": settings}])
    sample = run_rows.path
    signs = run_rows(rows, [{"feature-extraction": settings | {"dtype": "binary"}}])
    bits = run_rows.table.schema.field("embedding")
    rounded = run_rows(rows, [{"feature-extraction": settings | {"dtype": "int8", "calibration": sample}}])
    metadata = run_rows.table.schema.field("embedding").metadata
    low, high = np.array(json.loads(metadata[b"int8_low"])), np.array(json.loads(metadata[b"int8_high"]))
    assert (bits.type.list_size, bits.metadata[b"dim"]) == (3, b"24")
    for row in rows:
        batch = encode_row(tokenizer, row, row["text"])
        _, states = model.forward_packed(batch, output_hidden_states=True)
        vector = POOLINGS["mean"]((states[0] + states[-1]) / 2, batch.cu_seqlens)[0, :24]
        expected = torch.nn.functional.normalize(vector, dim=0).numpy()
        found = np.array(floats[row["id"]]["embedding"])
        assert np.abs(found - expected).max() < 2e-5
        assert signs[row["id"]]["embedding"] == np.packbits(found > 0).tolist()
        back = (np.array(rounded[row["id"]]["embedding"]) + 128) / 255 * (high - low) + low
        assert (np.abs(back - found) <= (high - low) / 255 * 0.51).all()


@torch.inference_mode()
def test_embedding_of_a_long_row_is_the_mean_of_its_windows(run_rows, rows, checkpoints, tokenizer):
    model = XLMModel.from_pretrained(checkpoints / "lm")
    settings = {"tokenizer__max_length": 16, "tokenizer__on_overflow": "window", "tokenizer__overlap_tokens": 4}
    tasks = [
        {"feature-extraction": {"normalize": False}},
        {"feature-extraction": {"normalize": False, "windows": "each", "prefix": "w_"}},
    ]
    found = run_rows(rows, tasks, **settings)
    num_long = 0
    for row in rows:
        batch = encode_row(tokenizer, row, row["text"], max_length=16, overlap=4)
        vectors = POOLINGS["mean"](model.forward_packed(batch), batch.cu_seqlens).numpy()
        assert np.abs(np.array(found[row["id"]]["w_embeddings"]) - vectors).max() < 2e-5
        mean = np.average(vectors, axis=0, weights=batch.lengths)
        assert np.abs(np.array(found[row["id"]]["embedding"]) - mean).max() < 2e-5
        num_long += len(vectors) > 2
    assert num_long > 10


def test_int8_requires_calibration_data_with_the_same_settings(run_rows, rows):
    windows = {"tokenizer__max_length": 16, "tokenizer__on_overflow": "window", "tokenizer__overlap_tokens": 4}
    floats = run_rows(rows, [{"feature-extraction": {"windows": "each"}}], **windows)
    each = {"windows": "each", "dtype": "int8", "calibration": run_rows.path}
    rounded = run_rows(rows, [{"feature-extraction": each}], **windows)
    steps = np.concatenate([row["embeddings"] for row in rounded.values()])
    assert (steps.min(0), steps.max(0)) == (pytest.approx(-128), pytest.approx(127))
    assert [len(row["embeddings"]) for row in rounded.values()] == [len(row["embeddings"]) for row in floats.values()]
    with pytest.raises(FatalError, match=r"was run with pooling mean, expected max; name the output of a run"):
        run_rows(rows, [{"feature-extraction": each | {"pooling": "max"}}], **windows)
    with pytest.raises(FatalError, match=r"nowhere: no such file or directory; correct calibration"):
        run_rows(rows, [{"feature-extraction": {"dtype": "int8", "calibration": "nowhere"}}])
    Path(each["calibration"], "data", "part-cut.parquet").write_bytes(b"PAR1, but cut off")
    with pytest.raises(FatalError, match=r"part-cut\.parquet: calibration cannot read this file .* name the output"):
        run_rows(rows, [{"feature-extraction": each}], **windows)
