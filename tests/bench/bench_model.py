"""Time of packed batches relative to padded batches of the reference: `python -m tests.bench.bench_model`.

The lengths follow a distribution typical of sentences: a median of 22 tokens and a long tail.
"""

import tempfile

import numpy as np
import torch
import transformers

from tests.bench.timing import compare_times
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

    orders = {"in input order": np.arange(num), "sorted by length": np.argsort(lengths, kind="stable")}
    with torch.inference_mode():
        for name, order in orders.items():
            ratio = compare_times(packed, lambda order=order: padded(order), ROUNDS)
            print(
                f"{device} {dtype}: packed takes {ratio.median:.2f} of the time of padded batches of 64, {name} "
                f"({ratio.low:.2f} to {ratio.high:.2f} in {ROUNDS} rounds; {cu_seqlens[-1]:,} tokens)"
            )


if __name__ == "__main__":
    main()
