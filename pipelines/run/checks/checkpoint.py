"""Check that a job's settings fit its checkpoint."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.errors import FatalError
from pipelines.job import check_overlap
from xlm_core.inference import MIN_LENGTH, default_max_length, max_prompt_length, warn_of_slow_precision
from xlm_core.languages import is_missing_lang

if TYPE_CHECKING:
    from pipelines.job import ComputeSettings, ModelSettings, TokenizerSettings
    from xlm_core import XLMConfig, XLMTokenizer

# The device files of the drivers of NVIDIA and AMD. torch is not asked, because it takes 2 s to import.
_GPU_FILES = (Path("/dev/nvidiactl"), Path("/dev/kfd"))


def check_precision(model: ModelSettings, compute: ComputeSettings) -> list[str]:
    """Return a warning if the model will run on this machine's CPU in a precision that is slow there.

    There is none for a job on a cluster, whose machines can have GPUs or other CPUs.
    """
    is_local = (compute.address or os.environ.get("RAY_ADDRESS") or "local") == "local"
    has_gpu = compute.gpus_per_model > 0 and any(file.exists() for file in _GPU_FILES)
    return [] if has_gpu or not is_local else warn_of_slow_precision(model.precision, "model.precision")


def choose_max_length(
    tokenizer: TokenizerSettings, num_columns: int, max_new_tokens: int, config: XLMConfig, url: str
) -> int:
    """Return the maximum number of tokens of a row: `max_length` or, by default, what the model's positions allow.

    Args:
        tokenizer: the job's section `tokenizer`.
        num_columns: number of text columns.
        max_new_tokens: maximum number of tokens that a task of the job generates; 0 if none does.
        config: the configuration of the trunk.
        url: of the checkpoint.

    Raises:
        FatalError: rows, or prompts with their generated tokens, would be longer than the model's positions, or windows
            shorter than their overlap. The message names the greatest possible setting.
    """
    positions, max_prompt = config.max_position_embeddings, max_prompt_length(config, max_new_tokens)
    max_length = tokenizer.max_length or default_max_length(config, max_new_tokens)
    if max_length > positions:
        raise FatalError(
            f"tokenizer.max_length is {max_length}, but {url} has positions for {positions} tokens; set it to at most "
            f"{positions}"
        )
    if max_length > max_prompt:
        shorter = f"set tokenizer.max_length to at most {max_prompt}, or " if max_prompt >= MIN_LENGTH else ""
        raise FatalError(
            f"text-generation: rows of {max_length} tokens and {max_new_tokens} new tokens exceed the {positions} "
            f"positions of {url}; {shorter}lower max_new_tokens"
        )
    if tokenizer.on_overflow == "window" and (
        problem := check_overlap(tokenizer.overlap_tokens, max_length, num_columns)
    ):
        raise FatalError(f"tokenizer.overlap_tokens: {problem} ({url} has positions for {positions} tokens)")
    return max_length


def check_fixed_lang(lang: str, tokenizer: XLMTokenizer, *, reject_unknown: bool, needs_segmenter: bool = True) -> None:
    """Refuse a fixed language that would have every row rejected, or whose segmenter is not installed.

    Args:
        lang: the language of all rows.
        tokenizer: the tokenizer of the checkpoint.
        reject_unknown: whether rows of an unknown language are rejected.
        needs_segmenter: whether texts are not segmented yet.

    Raises:
        FatalError: the message lists the languages of the checkpoint, or says what to install.
    """
    if is_missing_lang(lang):
        raise FatalError(
            f"input.lang: {lang!r} means no language, so every row would be rejected; set a language code"
            + (", such as nan_Hant or nan_Latn for Min Nan" if lang.strip().lower() == "nan" else "")
        )
    resolved = tokenizer.resolve_lang(lang)
    if resolved is not None:
        if needs_segmenter:
            tokenizer.segmenters.prepare(resolved)
    elif reject_unknown:
        known = ", ".join(sorted(tokenizer.lang2id))
        if not known:
            raise FatalError(f"input.lang: {lang!r} is not a language code, such as de or zh_CN")
        raise FatalError(f"input.lang: {lang!r} is not in the checkpoint's lang2id; its languages are {known}")
