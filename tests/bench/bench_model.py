"""How long packed batches take, as a ratio to the reference's padded ones: `python tests/bench/bench_model.py`.

Sentence lengths are drawn as they fall in corpora of sentences: a median of 22 tokens with a long tail.
"""

import tempfile
import time

import numpy as np
import torch
import transformers

from xlm_core import PackedBatch, XLMModel, plan_batches, take_ragged

ROUNDS = 5


def main() -> None:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = torch.float16 if device == "cuda" else torch.float32
    rng = np.random.default_rng(0)
    num, width, layers = (4096, 1280, 16) if device == "cuda" else (128, 512, 6)
    lengths = np.clip(rng.lognormal(np.log(22), 0.7, num).astype(int), 3, 256)
    config = transformers.XLMConfig(vocab_size=30_000, emb_dim=width, n_layers=layers, n_heads=8)
    reference = transformers.XLMModel(config).eval()
    with tempfile.TemporaryDirectory() as folder:
        reference.save_pretrained(folder)
        ours = XLMModel.from_pretrained(folder).eval().to(device=device, dtype=dtype)
    reference.to(device=device, dtype=dtype)
    cu_seqlens = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    ids = rng.integers(20, 30_000, cu_seqlens[-1]).astype(np.int32)

    def packed() -> None:
        for index in plan_batches(lengths, 32_768 if device == "cuda" else 2_048):
            batch = PackedBatch.from_ragged(*take_ragged(ids, cu_seqlens, index)).to(device)
            ours.forward_packed(batch)

    def padded(order: np.ndarray) -> None:
        for begin in range(0, num, 64):
            index = order[begin : begin + 64]
            longest = lengths[index].max()
            padded_ids = np.full((len(index), longest), 2)
            mask = np.arange(longest) < lengths[index][:, None]
            padded_ids[mask] = take_ragged(ids, cu_seqlens, index)[0]
            reference(
                input_ids=torch.from_numpy(padded_ids).to(device), attention_mask=torch.from_numpy(mask).to(device)
            )

    orders = {"as they come": np.arange(num), "sorted by length": np.argsort(lengths, kind="stable")}
    with torch.inference_mode():
        for name, order in orders.items():
            ratios: list[float] = []
            for round_ in range(ROUNDS + 1):
                spent: list[float] = []
                for work in (packed, lambda order=order: padded(order)):
                    began = time.perf_counter()
                    work()
                    if device == "cuda":
                        torch.cuda.synchronize()
                    spent.append(time.perf_counter() - began)
                if round_:
                    ratios.append(spent[0] / spent[1])
            ratios.sort()
            print(
                f"{device} {dtype}: packed takes {ratios[ROUNDS // 2]:.2f} of the time of padded batches of 64, {name} "
                f"({ratios[0]:.2f} to {ratios[-1]:.2f} in {ROUNDS} rounds; {cu_seqlens[-1]:,} tokens)"
            )


if __name__ == "__main__":
    main()
