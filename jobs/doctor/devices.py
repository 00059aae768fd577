"""Try the devices and precisions, with the forward pass of a small model."""

from __future__ import annotations

import os
import platform
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from jobs.doctor.finding import Finding, find_out
from pipelines.formatting import format_count, format_size
from xlm_core import XLMConfig, XLMModel
from xlm_core.inference import choose_device, choose_precision

if TYPE_CHECKING:
    from collections.abc import Iterator

_PRECISIONS = ("float32", "bfloat16", "float16")
_WIDTH = 512  # of a matrix product: 0.3 GFLOP, 0.2 s in float16 on a CPU without instructions for it


def try_devices() -> Iterator[Finding]:
    """Try the CPU and each GPU that torch sees."""
    yield find_out("devices", "CPU", _describe_cpu, needed=True)
    for i in range(torch.cuda.device_count()):
        yield find_out("devices", f"cuda:{i}", partial(_describe_gpu, i), advice="check the driver, with nvidia-smi")
    if torch.cuda.is_available():
        return
    built_for = f"torch {torch.__version__} is built for CUDA {torch.version.cuda}"
    if torch.version.cuda is None:
        built_for = f"torch {torch.__version__} is built without CUDA"
    if Path("/dev/nvidiactl").exists():
        next_step = "install a driver and a build of torch that fit each other"
        yield Finding("devices", "GPU", "fails", f"there is one, but torch does not see it; {built_for}", next_step)
    else:
        yield Finding("devices", "GPU", "missing", f"this machine has none that torch sees; {built_for}")


def try_precisions() -> Iterator[Finding]:
    """Try each precision on the device of a job: the GPU if there is one, else the CPU."""
    device = choose_device("auto")
    automatic = choose_precision("auto", device)
    for name in _PRECISIONS:
        dtype = getattr(torch, name)
        is_default = dtype == automatic
        attempt = partial(_compute, device, dtype, is_default=is_default)
        yield find_out("precisions", name, attempt, needed=is_default)


def _describe_cpu() -> str:
    num_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    parts = [platform.machine(), torch.backends.cpu.get_cpu_capability(), format_count(num_cores, "core")]
    if "SC_PHYS_PAGES" in os.sysconf_names:
        parts.append(f"{format_size(os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE'))} of memory")
    return ", ".join(parts)


def _describe_gpu(index: int) -> str:
    properties = torch.cuda.get_device_properties(index)
    free, total = torch.cuda.mem_get_info(index)
    capability = f"compute capability {properties.major}.{properties.minor}"
    return f"{properties.name}, {capability}, {format_size(free)} of {format_size(total)} free"


def _compute(device: torch.device, dtype: torch.dtype, *, is_default: bool) -> str:
    """Run the forward pass of a small model, and describe the speed of matrix products."""
    torch.manual_seed(0)
    config = XLMConfig.from_dict({"vocab_size": 64, "emb_dim": 128, "n_layers": 2, "n_heads": 2, "n_langs": 1})
    model = XLMModel(config).eval()
    ids = torch.arange(8, 40).view(2, 16)
    with torch.inference_mode():
        expected = model(input_ids=ids).last_hidden_state
        found = model.to(device, dtype)(input_ids=ids.to(device)).last_hidden_state.float().cpu()
    error = (found - expected).abs().max().item()
    if not error < 0.1:  # bfloat16 has 8 bits; a product of hidden states, which are about 1, differs by 0.02
        raise ValueError(f"the output of a small model differs by {error:.3g} from float32 on a CPU")
    auto = "; used by precision: auto" if is_default else ""
    return f"on {device.type}, {_measure_speed(device, dtype):,.0f} GFLOP/s; largest difference {error:.1g}{auto}"


def _measure_speed(device: torch.device, dtype: torch.dtype) -> float:
    """Return the speed of a matrix product, in GFLOP/s: the best of three."""
    a = torch.ones(_WIDTH, _WIDTH, device=device, dtype=dtype)
    seconds: list[float] = []
    for _ in range(3):
        begin = time.perf_counter()
        (a @ a)[0, 0].item()  # waits for the GPU
        seconds.append(time.perf_counter() - begin)
    return 2 * _WIDTH**3 / min(seconds) / 1e9
