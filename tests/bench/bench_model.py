"""Time of packed batches relative to padded batches of the reference: `python -m tests.bench.run model`."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import transformers

from tests.bench.corpora import Corpora, write_checkpoint
from tests.bench.table import Row
from tests.bench.timing import time_alternately
from xlm_core import PackedBatch, XLMModel, XLMTokenizer, plan_batches, take_ragged

ROUNDS, SENTENCES, BATCH, MAX_TOKENS = 5, 256, 64, 2_048


def measure(corpora: Corpora) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as name:
        folder = write_checkpoint(Path(name) / "checkpoint", corpora.sentences)
        reference = transformers.XLMModel.from_pretrained(folder).eval()
        ours = XLMModel.from_pretrained(folder).eval()
        tokenizer = XLMTokenizer.from_pretrained(folder, zh="rjieba", ja="fugashi")
    # the last ones, because the vocabulary is learned from the first ones
    sentences = corpora.sentences[-SENTENCES:]
    encoding = tokenizer.encode_batch([text for _, text in sentences], [lang for lang, _ in sentences], max_length=512)
    ids, cu_seqlens = encoding.input_ids, encoding.cu_seqlens
    lengths = np.diff(cu_seqlens)
    torch.set_num_threads(2)

    def packed() -> None:
        for index in plan_batches(lengths, MAX_TOKENS):
            ours.forward_packed(PackedBatch.from_ragged(*take_ragged(ids, cu_seqlens, index)))

    def padded(order: np.ndarray) -> None:
        for begin in range(0, len(order), BATCH):
            index = order[begin : begin + BATCH]
            longest = lengths[index].max()
            padded_ids = np.full((len(index), longest), 2)
            mask = np.arange(longest) < lengths[index][:, None]
            padded_ids[mask] = take_ragged(ids, cu_seqlens, index)[0]
            reference(input_ids=torch.from_numpy(padded_ids), attention_mask=torch.from_numpy(mask))

    functions = {
        "ours": packed,
        "unsorted": lambda: padded(np.arange(len(lengths))),
        "sorted": lambda: padded(np.argsort(lengths, kind="stable")),
    }
    with torch.inference_mode():
        times = time_alternately(functions, ROUNDS)
    what = "forward, float32, 6 x 512, 2 threads: the reference in padded batches of 64"
    yield Row(f"{what}, in input order", times.speedup("ours", over="unsorted"), "6.0 x")
    yield Row(f"{what}, sorted by length", times.speedup("ours", over="sorted"), "1.9 x")
