"""How long scoring and generation take, as ratios to the reference's: `python tests/bench/bench_language_model.py`."""

import tempfile
import time
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch
import transformers

from xlm_core import GenerationSettings, XLMWithLMHeadModel, generate, score_masked

ROUNDS = 3
VOCABULARY, MASK = 60_000, 5


def main() -> None:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    rng = np.random.default_rng(0)
    lengths = np.clip(rng.lognormal(np.log(22), 0.5, 12).astype(int), 5, 60)
    cu_seqlens = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    ids = rng.integers(20, VOCABULARY, cu_seqlens[-1]).astype(np.int32)
    prompts = [torch.from_numpy(ids[a:b].astype(np.int64))[None].to(device) for a, b in pairwise(cu_seqlens)]
    for causal, compare in ((False, scoring), (True, generation)):
        config = transformers.XLMConfig(
            vocab_size=VOCABULARY, emb_dim=512, n_layers=6, n_heads=8, causal=causal, mask_token_id=MASK
        )
        reference = transformers.XLMWithLMHeadModel(config).eval()
        with tempfile.TemporaryDirectory() as folder:
            reference.save_pretrained(folder)
            ours = XLMWithLMHeadModel.from_pretrained(folder, device=device)
        with torch.inference_mode():
            compare(ours, reference.to(device), prompts, ids, cu_seqlens)


def scoring(ours, reference, prompts, ids, cu_seqlens) -> None:
    """Pseudo-log-likelihoods: packed copies, projected at their masks, against one padded batch a sentence."""

    def theirs() -> None:
        for prompt in prompts:
            copies = prompt.repeat(prompt.shape[1], 1).fill_diagonal_(MASK)
            scores = reference(copies).logits.log_softmax(-1)
            scores[torch.arange(len(copies)), torch.arange(len(copies)), prompt[0]].sum()

    scored = np.ones(len(ids), np.bool_)
    report(
        "masked scores", lambda: score_masked(ours.trunk, ours.head, ids, cu_seqlens, None, scored, MASK, 4096), theirs
    )


def generation(ours, reference, prompts, ids, cu_seqlens) -> None:
    """Twenty tokens of greedy text: packed with a cache, against one prompt after the other without."""
    settings = GenerationSettings(max_new_tokens=20, mask_token_id=MASK)

    def theirs() -> None:
        for prompt in prompts:
            reference.generate(prompt, max_new_tokens=20, do_sample=False, use_cache=False, eos_token_id=None)

    report("generation", lambda: generate(ours.trunk, ours.head, ids, cu_seqlens, None, settings), theirs)


def report(what: str, ours: Callable[[], object], theirs: Callable[[], object]) -> None:
    ratios: list[float] = []
    for round_ in range(ROUNDS + 1):
        spent: list[float] = []
        for work in (ours, theirs):
            began = time.perf_counter()
            work()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            spent.append(time.perf_counter() - began)
        if round_:
            ratios.append(spent[0] / spent[1])
    ratios.sort()
    middle, low, high = ratios[ROUNDS // 2], ratios[0], ratios[-1]
    print(f"{what}: {middle:.2f} of the reference's time ({low:.2f} to {high:.2f} in {ROUNDS} rounds)")


if __name__ == "__main__":
    main()
