"""A precision for which a CPU has no instructions is slow there: it is warned about, and never chosen automatically."""

import pytest
import torch

from xlm_core.inference import choose_precision, warn_of_slow_precision

CPUS = {
    "AMD with AVX2": "flags\t\t: fpu sse4_2 avx2 fma f16c",
    "Intel with AVX-512": "flags\t\t: fpu avx2 avx512f avx512_vnni",
    "Intel with AMX": "flags\t\t: fpu avx2 avx512f avx512_bf16 avx512_fp16 amx_bf16 amx_tile amx_int8",
    "AMD with AVX-512": "flags\t\t: fpu avx2 avx512f avx512_bf16 avx512_vnni",
    "Graviton 3": "Features\t: fp asimd fphp asimdhp sve i8mm bf16",
}
FAST = {
    "bfloat16": {"Intel with AMX", "AMD with AVX-512", "Graviton 3"},
    "float16": {"Intel with AMX", "Graviton 3"},
    "float32": set(CPUS),
    "auto": set(CPUS),
}


@pytest.mark.parametrize("precision", FAST)
@pytest.mark.parametrize("cpu", CPUS)
def test_warning_names_setting_and_instructions_unless_the_cpu_has_them(cpu, precision, tmp_path):
    path = tmp_path / "cpuinfo"
    path.write_text(f"processor\t: 0\nmodel name\t: a bf16 asimdhp of AMX\n{CPUS[cpu]}\n", encoding="utf-8")
    found = warn_of_slow_precision(precision, "model.precision", path)
    if cpu in FAST[precision]:
        assert found == []
    else:
        (line,) = found
        assert line.startswith(f"model.precision is {precision}, but the CPU of this machine does not have ")
        assert "set model.precision to auto" in line


def test_no_warning_where_the_system_does_not_describe_its_cpu(tmp_path):
    assert warn_of_slow_precision("bfloat16", "precision", tmp_path / "none") == []


def test_auto_is_float32_on_every_cpu():
    assert choose_precision("auto", torch.device("cpu")) == torch.float32
