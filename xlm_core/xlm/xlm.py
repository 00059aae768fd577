"""`XLM`: a checkpoint with a method for each task."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Literal, Self

from xlm_core.builtin import checkpoint_directory
from xlm_core.checkpoint import check_checkpoint, check_finite
from xlm_core.errors import InferenceError, check_choice, check_positive
from xlm_core.inference import (
    Model,
    choose_device,
    choose_precision,
    default_max_length,
    default_max_tokens,
    is_out_of_memory,
    warn_of_slow_precision,
)
from xlm_core.reference import XLMModel, XLMTokenizer
from xlm_core.tokenizer import check_vocab_size
from xlm_core.xlm.language_model_tasks import LanguageModelTasks
from xlm_core.xlm.pair_tasks import PairTasks
from xlm_core.xlm.runner import OnOverflow, RunSettings, UnknownLang
from xlm_core.xlm.text_tasks import TextTasks

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from xlm_core.inference import Precision
    from xlm_core.text import ChineseSegmenter, Compat, JapaneseSegmenter

_Objective = Literal["checkpoint", "causal", "masked"]


class XLM(TextTasks, PairTasks, LanguageModelTasks):
    """A checkpoint that computes vectors, labels, words, answers and scores of texts.

    The numbers are those of a job with the same settings, because both run the same code. A text's result does not
    depend on the other texts of a call: it is the same within 2e-5 in float32, and with `invariant` to the last bit.

    Every method takes one text, or a list, tuple, NumPy array, pandas or Polars Series, or Arrow array of texts, and a
    language code for all of them, or one for each. Texts may also be lists of words, which keep their words. One text
    gets one result; many get a list, or an array, in the same order.

    The methods raise:
        TypeError: an argument is not a text, or not a list of texts.
        ValueError: texts are missing, empty or longer than allowed, or a language is unknown; the message has their
            positions, never the texts.
        TokenizerError: the segmenter of a language is not installed, or has no model.
        InferenceError: a text does not fit the device's memory, or a result is not finite in this precision.
    """

    @classmethod
    def from_pretrained(
        cls,
        checkpoint: str | Path,
        *,
        device: torch.device | str = "auto",
        precision: Precision = "auto",
        objective: _Objective = "checkpoint",
        max_length: int | None = None,
        on_overflow: OnOverflow = "truncate",
        overlap_tokens: int = 64,
        zh: ChineseSegmenter = "jieba",
        ja: JapaneseSegmenter = "kytea",
        kytea_model: str | Path | None = None,
        compat: Compat = "default",
        bypass_tokenizer: bool = False,
        unknown_lang: UnknownLang = "error",
        max_tokens: int | None = None,
        invariant: bool = False,
        progress: bool = True,
    ) -> Self:
        """Load a checkpoint. The options are those of a job file, with the same defaults.

        Args:
            checkpoint: a local directory with a trunk and a tokenizer, in any format of the library, or the
                `builtin://small` of this package.
            device: "auto" is the GPU if torch sees one, else the CPU; or a device of torch, such as "cuda:1".
            precision: the number type of the weights; "auto" is float16 on a GPU and float32 on a CPU.
            objective: whether a token sees only earlier tokens ("causal") or all ("masked"); by default as in
                config.json, which is wrong in the released causal checkpoints.
            max_length: maximum number of tokens of a text, or of a pair, with special tokens; by default 512, or what
                the positions of the model allow.
            on_overflow: longer texts are truncated, split into overlapping windows, or an error. The results of windows
                are merged: vectors and scores are means, words and answers come from the best window.
            overlap_tokens: number of tokens that consecutive windows have in common.
            zh, ja, kytea_model: the segmenters of Chinese and Japanese.
            compat: "reference" gives exactly the ids of the reference.
            bypass_tokenizer: texts are words separated by spaces, and go directly to byte-pair encoding.
            unknown_lang: texts in a language that the checkpoint does not have are an error, or run without a language.
            max_tokens: maximum number of tokens of a forward pass; by default 32,768 on a GPU and at most 2,048 on a
                CPU, where each thread runs a pass. It is halved when memory runs out, and does not affect results.
            invariant: run each sequence alone, so that not even the last bit of a result depends on other texts.
            progress: show a progress bar on a terminal's standard error once a call has taken a second.

        Raises:
            FatalError: the checkpoint or its tokenizer cannot be used; the message has one line.
            InferenceError: the model does not fit the device's memory.
            ValueError: an option does not exist, or does not fit the checkpoint or this machine.
        """
        check_choice("objective", objective, _Objective)
        check_choice("on_overflow", on_overflow, OnOverflow)
        check_choice("unknown_lang", unknown_lang, UnknownLang)
        if max_tokens is not None:
            check_positive("max_tokens", max_tokens)
        folder = checkpoint_directory(checkpoint)
        config = check_checkpoint(folder, "trunk")
        if max_length is not None and not 3 <= max_length <= config.max_position_embeddings:
            raise ValueError(
                f"max_length: got {max_length}, expected 3 to {config.max_position_embeddings}, the positions of "
                f"{folder}"
            )
        longest_overlap = (max_length or default_max_length(config)) - 4  # of a pair with one token besides
        if on_overflow == "window" and not 0 <= overlap_tokens <= longest_overlap:
            raise ValueError(
                f"overlap_tokens: got {overlap_tokens}, expected 0 to {longest_overlap}, so that windows advance"
            )
        chosen_device = choose_device(device)
        dtype = choose_precision(precision, chosen_device)
        check_finite(folder, "trunk")
        tokenizer = XLMTokenizer.from_pretrained(folder, zh=zh, ja=ja, kytea_model=kytea_model, compat=compat)
        found = [*tokenizer.warnings, *check_vocab_size(tokenizer.vocab, config.vocab_size, str(folder))]
        if chosen_device.type == "cpu":
            found += warn_of_slow_precision(precision, "precision")
        for warning in found:
            warnings.warn(warning, stacklevel=2)
        causal = {"causal": True, "masked": False, "checkpoint": None}[objective]
        try:
            trunk = XLMModel.from_pretrained(folder, dtype=dtype, device=chosen_device, causal=causal)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            raise InferenceError(
                f"out of memory on {chosen_device}: the model does not fit in {dtype}; use a device with more memory, "
                "or a smaller precision"
            ) from None
        max_tokens = max_tokens or default_max_tokens(chosen_device, config.emb_dim)
        model = Model(trunk, folder, max_tokens, invariant)
        model.tokenizer = tokenizer
        settings = RunSettings(
            max_length=max_length,
            on_overflow=on_overflow,
            overlap_tokens=overlap_tokens,
            bypass_tokenizer=bypass_tokenizer,
            unknown_lang=unknown_lang,
            progress=progress,
        )
        return cls(model, tokenizer, settings)
