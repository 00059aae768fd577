"""Where and how a model runs if its user does not say: device, precision, tokens per pass, tokens per text."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from xlm_core.errors import check_choice

if TYPE_CHECKING:
    import torch

    from xlm_core.checkpoint import XLMConfig

Precision = Literal["auto", "float32", "bfloat16", "float16"]

DEFAULT_MAX_LENGTH = 512  # the number of positions of most released checkpoints
MIN_LENGTH = 3  # special tokens and one token of the text

# The instructions of CPUs for each half precision, as Linux names them, with their names in messages. Without them,
# products take 4 to 10 times as long as in float32, or more.
_INSTRUCTIONS = {
    "bfloat16": ("AVX-512 BF16 or AMX", {"avx512_bf16", "amx_bf16", "bf16", "svebf16"}),
    "float16": ("AVX-512 FP16 or AMX-FP16", {"avx512_fp16", "amx_fp16", "asimdhp"}),
}
_CPU_INFO = Path("/proc/cpuinfo")


def choose_device(device: torch.device | str) -> torch.device:
    """Return a device; for "auto", the GPU if torch sees one, else the CPU.

    Raises:
        ValueError: not a device, or one that torch does not have here.
    """
    import torch

    has_gpu = torch.cuda.is_available()
    if device == "auto":
        return torch.device("cuda" if has_gpu else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError:
        raise ValueError(
            f"device: got {device!r}, expected auto, cpu, cuda or a number of a GPU, as in cuda:1"
        ) from None
    if chosen.type == "cuda" and not has_gpu:
        raise ValueError(f"device: got {device!r}, but torch {torch.__version__} sees no GPU here; pass cpu or auto")
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"device: got {device!r}, but torch sees only {torch.cuda.device_count()} GPUs, from cuda:0")
    return chosen


def choose_precision(precision: str, device: torch.device) -> torch.dtype:
    """Return a precision; "auto" is float32 on a CPU, and float16 elsewhere, in which the released models were trained.

    Raises:
        ValueError: an unknown precision.
    """
    import torch

    check_choice("precision", precision, Precision)
    name = ("float32" if device.type == "cpu" else "float16") if precision == "auto" else precision
    return getattr(torch, name)


def warn_of_slow_precision(precision: str, setting: str, cpu_info: Path = _CPU_INFO) -> list[str]:
    """Return a warning if this machine's CPU has no instructions for a precision.

    Args:
        precision: of a model that runs on the CPU.
        setting: the name of the setting in the warning.
        cpu_info: Linux's description of the CPU. On other systems there is none, and no warning.
    """
    if precision not in _INSTRUCTIONS or not cpu_info.is_file():
        return []
    name, needed = _INSTRUCTIONS[precision]
    lines = cpu_info.read_text(encoding="utf-8").splitlines()
    flags = {flag for line in lines if line.lower().startswith(("flags", "features")) for flag in line.split()}
    if flags & needed:
        return []
    return [
        f"{setting} is {precision}, but the CPU of this machine does not have {name}, so a model takes many times as "
        f"long on it as in float32; set {setting} to auto, or run the model on a GPU"
    ]


def default_max_tokens(device: torch.device, emb_dim: int) -> int:
    """Return the default of the maximum number of tokens per forward pass of a model of some width."""
    if device.type != "cpu":
        return 32_768  # a GPU needs enough rows to fill its multiprocessors
    # On a CPU, larger passes do not fit the caches and leave threads without work at the end of a shard. Smaller ones
    # take more time for each token.
    return min(2_048, 2**19 // emb_dim)


def max_prompt_length(config: XLMConfig, max_new_tokens: int) -> int:
    """Return the maximum number of tokens of a text, so that the new tokens fit the positions of the model."""
    positions = config.max_position_embeddings
    # a prompt is fed to the model without its end token
    return positions - max_new_tokens + 1 if max_new_tokens else positions


def default_max_length(config: XLMConfig, max_new_tokens: int = 0) -> int:
    """Return the default of the maximum number of tokens of a text: 512, or what the model's positions allow."""
    longest = min(DEFAULT_MAX_LENGTH, config.max_position_embeddings, max_prompt_length(config, max_new_tokens))
    return max(MIN_LENGTH, longest)
