"""Time of packed batches on a CPU, relative to the reference and to their matrix products alone.

Run it with `python -m tests.bench.run model`.
"""

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
from xlm_core.inference import default_max_tokens
from xlm_core.model import Linear, Write, run_passes

ROUNDS, MAX_CHARS, BATCH, THREADS = 3, 400, 32, 2
SENTENCES = 256  # eight passes, which two threads share evenly


def measure(corpora: Corpora) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as name:
        folder = write_checkpoint(Path(name) / "checkpoint", corpora.sentences)
        reference = transformers.XLMModel.from_pretrained(folder).eval()
        ours = XLMModel.from_pretrained(folder).eval()
        in_bfloat16 = XLMModel.from_pretrained(folder, dtype=torch.bfloat16).eval()
        tokenizer = XLMTokenizer.from_pretrained(folder, zh="rjieba", ja="fugashi")
    # the last ones, because the vocabulary is learned from the first ones; without the paragraphs of xquad
    sentences = [sentence for sentence in corpora.sentences if len(sentence.text) <= MAX_CHARS][-SENTENCES:]
    encoding = tokenizer.encode_batch([text for _, text in sentences], [lang for lang, _ in sentences], max_length=512)
    ids, cu_seqlens = encoding.input_ids, encoding.cu_seqlens
    lengths = np.diff(cu_seqlens)
    plan = plan_batches(lengths, default_max_tokens(torch.device("cpu"), ours.config.emb_dim))
    linear = [module for module in ours.modules() if isinstance(module, Linear)]
    inputs = [[torch.randn(lengths[index].sum(), layer.in_features) for layer in linear] for index in plan]

    def packed(model: XLMModel) -> None:
        def run_pass(index: np.ndarray) -> list[Write]:
            model.forward_packed(PackedBatch.from_ragged(*take_ragged(ids, cu_seqlens, index)))
            return []

        run_passes(run_pass, plan, torch.device("cpu"))

    def padded(order: np.ndarray) -> None:
        for begin in range(0, len(order), BATCH):
            index = order[begin : begin + BATCH]
            mask = np.arange(lengths[index].max()) < lengths[index][:, None]
            padded_ids = np.full(mask.shape, 2)
            padded_ids[mask] = take_ragged(ids, cu_seqlens, index)[0]
            reference(input_ids=torch.from_numpy(padded_ids), attention_mask=torch.from_numpy(mask))

    def products() -> None:
        for batch in inputs:
            for layer, x in zip(linear, batch, strict=True):
                torch.mm(x, layer.weight.T)

    def own_products() -> None:
        for batch in inputs:
            for layer, x in zip(linear, batch, strict=True):
                layer(x)

    functions = {
        "ours": lambda: packed(ours),
        "unsorted": lambda: padded(np.arange(len(lengths))),
        "sorted": lambda: padded(np.argsort(lengths, kind="stable")),
        "products": products,
        "own products": own_products,
        "bfloat16": lambda: packed(in_bfloat16),
    }
    num_threads = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    with torch.inference_mode():
        times = time_alternately(functions, ROUNDS)
    torch.set_num_threads(num_threads)
    what = f"forward, float32, 6 x 512, {THREADS} threads"
    yield Row(
        f"{what}: the reference in padded batches of 32, in input order", times.speedup("ours", over="unsorted"), "6 x"
    )
    yield Row(f"{what}: the reference in padded batches of 32, sorted", times.speedup("ours", over="sorted"), "1.9 x")
    yield Row(f"{what}: time of torch.mm of the same shapes", f"{times.ratio('products', to='ours'):.0%}", "94 %")
    yield Row(f"{what}: time of its own linear layers", f"{times.ratio('own products', to='ours'):.0%}", "94 %")
    yield Row(f"{what}: bfloat16 instead", times.speedup("bfloat16", over="ours"))
