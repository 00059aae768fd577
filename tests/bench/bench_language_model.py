"""Time of scoring and generation relative to the reference: `python -m tests.bench.bench_language_model`."""

import tempfile
from itertools import pairwise

import numpy as np
import torch
import transformers

from tests.bench.timing import compare_times
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
    for causal, compare in ((False, compare_scoring), (True, compare_generation)):
        config = transformers.XLMConfig(
            vocab_size=VOCABULARY, emb_dim=512, n_layers=6, n_heads=8, causal=causal, mask_token_id=MASK
        )
        reference = transformers.XLMWithLMHeadModel(config).eval()
        with tempfile.TemporaryDirectory() as folder:
            reference.save_pretrained(folder)
            ours = XLMWithLMHeadModel.from_pretrained(folder, device=device)
        with torch.inference_mode():
            compare(ours, reference.to(device), prompts, ids, cu_seqlens)


def compare_scoring(ours, reference, prompts, ids, cu_seqlens) -> None:
    """Compare pseudo-log-likelihoods: packed copies with logits at masks only, and one padded batch per sentence."""

    def theirs() -> None:
        for prompt in prompts:
            copies = prompt.repeat(prompt.shape[1], 1).fill_diagonal_(MASK)
            scores = reference(copies).logits.log_softmax(-1)
            scores[torch.arange(len(copies)), torch.arange(len(copies)), prompt[0]].sum()

    scored = np.ones(len(ids), np.bool_)
    report(
        "masked scores", lambda: score_masked(ours.trunk, ours.head, ids, cu_seqlens, None, scored, MASK, 4096), theirs
    )


def compare_generation(ours, reference, prompts, ids, cu_seqlens) -> None:
    """Compare twenty tokens of greedy text: packed prompts with a cache, and single prompts without a cache."""
    settings = GenerationSettings(max_new_tokens=20, mask_token_id=MASK)

    def theirs() -> None:
        for prompt in prompts:
            reference.generate(prompt, max_new_tokens=20, do_sample=False, use_cache=False, eos_token_id=None)

    report("generation", lambda: generate(ours.trunk, ours.head, ids, cu_seqlens, None, settings), theirs)


def report(what, ours, theirs) -> None:
    ratio = compare_times(ours, theirs, ROUNDS)
    print(
        f"{what}: {ratio.median:.2f} of the reference's time ({ratio.low:.2f} to {ratio.high:.2f} in {ROUNDS} rounds)"
    )


if __name__ == "__main__":
    main()
