"""The script that measures a GPU works, here at toy size on the CPU; and the file of results keeps its sections."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from tests.bench.corpora import read_corpora
from tests.bench.gpu import FIGURES, FULL, TOY, compile_pointwise, measure, run_padded
from tests.bench.table import UNMEASURED, Row, keep_rows
from xlm_core import PackedBatch, XLMConfig, XLMModel

ABSENT = ("ray", "pyarrow", "pandas", "fsspec", "transformers", "sacremoses", "rjieba", "fugashi", "pythainlp")
BARE_MACHINE = f"""
import runpy, sys
sys.modules.update(dict.fromkeys({ABSENT}))  # importing one of these fails
sys.argv[1:] = ["--toy"]
runpy.run_module("tests.bench.gpu", run_name="__main__")
"""


@pytest.mark.long
def test_script_prints_every_row_on_a_machine_without_ray_and_transformers():
    text = subprocess.run([sys.executable, "-c", BARE_MACHINE], capture_output=True, text=True, check=True).stdout
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith(("| GPU", "| cores"))]
    found = {what.removeprefix("| "): figure for what, figure, _ in rows}
    shape_rows = [f"GPU, float16, 2 x 64: {what}" for what in FIGURES]
    assert set(shape_rows) < set(found)
    assert [what for what in shape_rows if found[what] == UNMEASURED] == [
        "GPU, float16, 2 x 64: pointwise parts compiled, relative to eager",
        "GPU, float16, 2 x 64: waits of the host for the GPU in a pass, except for the results of the pass before",
    ]
    assert "our layers and SDPA" in found[shape_rows[0]]
    assert "cores that tokenize for one GPU with 2 x 64: th" in found


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU, which takes minutes to measure")
def test_full_size_is_unmeasured_without_a_gpu():
    rows = list(measure(read_corpora(), FULL))
    assert len(rows) > len(FULL.shapes) * len(FIGURES)
    assert {row.figure for row in rows} == {UNMEASURED}


@pytest.mark.long
def test_cores_are_measured_for_each_language_where_the_tokenizer_is_installed():
    corpora = read_corpora()
    cores = {row.what.rpartition(": ")[2]: row.figure for row in measure(corpora, TOY) if row.what.startswith("cores")}
    assert set(cores) == {"all languages"} | {lang for lang, _ in corpora.sentences}
    assert all(float(figure) > 0 for figure in cores.values())


def test_padded_and_compiled_passes_compute_what_packed_ones_do():
    torch.manual_seed(0)
    config = {"vocab_size": 50, "emb_dim": 16, "n_layers": 2, "n_heads": 2, "n_langs": 1}
    model = XLMModel(XLMConfig.from_dict(config)).eval()
    ids, cu_seqlens = np.arange(5, 25, dtype=np.int32), np.array([0, 12, 15, 20], dtype=np.int32)
    mask = torch.arange(12) < torch.tensor([[12], [3], [5]])
    padded = torch.full((3, 12), 2)
    padded[mask] = torch.from_numpy(ids).long()
    with torch.inference_mode(), torch.compiler.set_stance("force_eager"):
        packed = model.forward_packed(PackedBatch.from_ragged(ids, cu_seqlens))
        torch.testing.assert_close(run_padded(model, padded, mask)[mask], packed, atol=1e-5, rtol=0)
        compiled = compile_pointwise(model)(PackedBatch.from_ragged(ids, cu_seqlens))
        torch.testing.assert_close(compiled, packed, atol=1e-5, rtol=0)


def test_section_is_replaced_and_the_rest_is_kept(tmp_path):
    path = tmp_path / "RESULTS.md"
    path.write_text("# Speed\n\nAbout.\n\n## Limits\n\nWritten by hand.\n", encoding="utf-8")
    keep_rows("second", [Row("b", "1.0 x")], "texts", ("first", "second"), path)
    keep_rows("first", [Row("a", "2.0 x", "3 x")], "texts", ("first", "second"), path)
    keep_rows("second", [Row("b", "4.0 x")], "other texts", ("first", "second"), path)
    text = path.read_text(encoding="utf-8")
    assert [line for line in text.splitlines() if line.startswith("#")] == [
        "# Speed",
        "## first",
        "## second",
        "## Limits",
    ]
    assert "| a | 2.0 x | 3 x |" in text
    assert "| b | 4.0 x |  |" in text
    assert "1.0 x" not in text
    assert text.startswith("# Speed\n\nAbout.\n")
    assert text.endswith("Written by hand.\n")
