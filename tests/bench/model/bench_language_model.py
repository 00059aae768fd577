"""Time of scoring and generation relative to the reference: `python -m tests.bench.run language-model`."""

import tempfile
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import transformers

from tests.bench.corpora import Corpora, write_checkpoint
from tests.bench.table import Row
from tests.bench.timing import time_alternately
from xlm_core import GenerationSettings, XLMTokenizer, XLMWithLMHeadModel, generate, score_masked

ROUNDS, SENTENCES, MASK = 3, 12, 5


def measure(corpora: Corpora) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as name:
        folder = write_checkpoint(Path(name) / "checkpoint", corpora.sentences, mask_token_id=MASK)
        encoding = XLMTokenizer.from_pretrained(folder, zh="rjieba", ja="fugashi").encode_batch(
            [text for _, text in corpora.sentences[:SENTENCES]],
            [lang for lang, _ in corpora.sentences[:SENTENCES]],
            max_length=64,
        )
        ids, cu_seqlens = encoding.input_ids, encoding.cu_seqlens
        prompts = [torch.from_numpy(ids[a:b].astype(np.int64))[None] for a, b in pairwise(cu_seqlens)]
        for what, causal, functions in (
            ("pseudo-log-likelihoods, one padded batch for each sentence", False, scoring),
            ("20 tokens of greedy text, one prompt at a time without a cache", True, generation),
        ):
            reference = transformers.XLMWithLMHeadModel.from_pretrained(folder, causal=causal).eval()
            ours = XLMWithLMHeadModel.from_pretrained(folder, causal=causal)
            with torch.inference_mode():
                times = time_alternately(functions(ours, reference, prompts, ids, cu_seqlens), ROUNDS)
            yield Row(f"{what}: the reference", times.speedup("ours", over="reference"))


def scoring(ours, reference, prompts, ids, cu_seqlens) -> dict[str, Callable[[], object]]:
    """Packed copies with logits at masks only, and one padded batch for each sentence."""

    def theirs() -> None:
        for prompt in prompts:
            copies = prompt.repeat(prompt.shape[1], 1).fill_diagonal_(MASK)
            scores = reference(copies).logits.log_softmax(-1)
            scores[torch.arange(len(copies)), torch.arange(len(copies)), prompt[0]].sum()

    scored = np.ones(len(ids), np.bool_)
    return {
        "ours": lambda: score_masked(ours.trunk, ours.head, ids, cu_seqlens, None, scored, MASK, 4096),
        "reference": theirs,
    }


def generation(ours, reference, prompts, ids, cu_seqlens) -> dict[str, Callable[[], object]]:
    """Packed prompts with a cache, and single prompts without a cache."""
    settings = GenerationSettings(max_new_tokens=20, mask_token_id=MASK)

    def theirs() -> None:
        for prompt in prompts:
            reference.generate(prompt, max_new_tokens=20, do_sample=False, use_cache=False, eos_token_id=None)

    return {
        "ours": lambda: generate(ours.trunk, ours.head, ids, cu_seqlens, None, settings),
        "reference": theirs,
    }
