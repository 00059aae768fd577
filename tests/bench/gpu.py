"""Speed on a GPU, in less than ten minutes: `python -m tests.bench.gpu [--toy]`, or `python -m tests.bench.run gpu`.

It needs torch, NumPy, pydantic and safetensors, and works from a checkout that is not installed. Without transformers,
padded batches are computed by our own layers; without the tokenizer's libraries, the cores that tokenize for a GPU are
not measured. `--toy` runs on a CPU at a small size, which only shows that the script works.
"""

import argparse
import importlib.util
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import MethodType

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.bench.corpora import Corpora, Sentence, read_corpora, write_checkpoint
from tests.bench.table import UNMEASURED, Row, describe_machine, format_rows
from tests.bench.timing import time_alternately
from xlm_core import PackedBatch, XLMConfig, XLMModel, plan_batches, take_ragged
from xlm_core.decoding import Sequences
from xlm_core.inference import EmbeddingCollector, Model, run_collectors

# The lengths of texts in tokens, at these shares of the texts: 4,000 of ud_pos, tatoeba and xquad.
SHARES, LENGTHS = [0, 0.05, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1], [3, 8, 13, 19, 30, 54, 85, 287, 512]
BATCH, VOCABULARY, TEXTS_PER_LANG = 64, 30_000, 200
ROUNDS = 3


@dataclass(frozen=True)
class Size:
    shapes: tuple[tuple[int, int], ...]  # layers and width
    num_texts: int
    max_tokens: int
    matrix: int  # rows and columns of the product whose rate is measured
    num_shards: int


FULL = Size(((12, 2048), (16, 1280), (12, 1024)), 4096, 32_768, 8192, 4)
TOY = Size(((2, 64),), 24, 512, 128, 2)

FIGURES = {  # the goal of each figure of a shape
    "padded batches of 64, in input order": "5 x",
    "padded batches of 64, sorted by length, SDPA": "1.5 x",
    "share of the measured rate of matrix products": "50 %",
    "pointwise parts compiled, relative to eager": "",
    "busy share of a model process that is fed with shards": "95 %",
    "waits of the host for the GPU in a pass, except for the results of the pass before": "0",
}


def measure(corpora: Corpora, size: Size = FULL) -> Iterator[Row]:
    """Measure all figures; without a GPU, only the toy size is."""
    can_measure = torch.cuda.is_available() or size is TOY
    rates: list[float] = []
    for layers, width in size.shapes:
        model = f"GPU, float16, {layers} x {width}"
        figures: dict[str, str] = {}
        if can_measure:
            figures, rate = measure_shape(layers, width, size)
            rates.append(rate)
        for what, goal in FIGURES.items():
            yield Row(f"{model}: {what}", figures.get(what, UNMEASURED), goal)
    cores = measure_cores(corpora, rates[0], size) if can_measure and has_tokenizer() else {}
    layers, width = size.shapes[0]
    for lang in ("all languages", *sorted({lang for lang, _ in corpora.sentences})):
        what = f"cores that tokenize for one GPU with {layers} x {width}: {lang}"
        yield Row(what, f"{cores[lang]:.2g}" if lang in cores else UNMEASURED)


def measure_shape(layers: int, width: int, size: Size) -> tuple[dict[str, str], float]:
    """Measure one shape of the model.

    Returns:
        The figures, and the tokens per second of packed batches.
    """
    device, dtype = ("cuda", torch.float16) if torch.cuda.is_available() else ("cpu", torch.float32)
    config = XLMConfig.from_dict(
        {"vocab_size": VOCABULARY, "emb_dim": width, "n_layers": layers, "n_heads": max(1, width // 64), "n_langs": 1}
    )
    torch.manual_seed(0)
    with torch.device(device):
        ours = XLMModel(config).eval().to(dtype)
    rng = np.random.default_rng(0)
    lengths = np.interp(rng.random(size.num_texts), SHARES, LENGTHS).astype(int)
    cu_seqlens = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    ids = rng.integers(20, VOCABULARY, cu_seqlens[-1]).astype(np.int32)
    plan = plan_batches(lengths, size.max_tokens)
    on_device = [PackedBatch.from_ragged(*take_ragged(ids, cu_seqlens, index)).to(device) for index in plan]
    reference, name = build_reference(config, ours, device, dtype)
    matrix = torch.randn(size.matrix, size.matrix, device=device, dtype=dtype)

    def packed() -> None:
        for batch in on_device:
            ours.forward_packed(batch)

    def padded(run: Callable[[Tensor, Tensor], object], order: np.ndarray) -> None:
        for begin in range(0, len(order), BATCH):
            index = order[begin : begin + BATCH]
            mask = np.arange(lengths[index].max()) < lengths[index][:, None]
            padded_ids = np.full(mask.shape, 2)
            padded_ids[mask] = take_ragged(ids, cu_seqlens, index)[0]
            run(torch.from_numpy(padded_ids).to(device), torch.from_numpy(mask).to(device))

    model, sequences = Model(ours, Path(), size.max_tokens, invariant=False), to_sequences(ids, cu_seqlens)

    def shards(num_shards: int = size.num_shards) -> None:
        """Do what a model process does: copy batches to the device, pool their sequences, copy the vectors back."""
        for _ in range(num_shards):
            run_collectors(model, sequences, lambda: [embed(sequences, width)])

    functions = {
        "packed": packed,
        "unsorted": lambda: padded(reference, np.arange(len(lengths))),
        "sorted": lambda: padded(lambda i, m: run_padded(ours, i, m), np.argsort(lengths, kind="stable")),
        "product": lambda: matrix @ matrix,
        "shards": shards,
    }
    compiled = compile_pointwise(ours) if device == "cuda" and importlib.util.find_spec("triton") else None
    if compiled is not None:
        functions["compiled"] = lambda: [compiled(batch) for batch in on_device]
    with torch.inference_mode():
        times = time_alternately({name: _until_done(function) for name, function in functions.items()}, ROUNDS)
    operations = 24 * layers * width**2 * int(cu_seqlens[-1])  # of the linear layers alone
    rate_share = operations / (2 * size.matrix**3) * times.ratio("product", to="packed")
    unsorted, sorted_, share, pointwise, busy, waits = FIGURES
    figures = {
        unsorted: f"{times.speedup('packed', over='unsorted')} ({name})",
        sorted_: times.speedup("packed", over="sorted"),
        share: f"{rate_share:.0%}",
        busy: f"{size.num_shards * times.ratio('packed', to='shards'):.0%}",
    }
    if device == "cuda":
        figures[waits] = f"{count_waits(lambda: shards(1)) / len(plan):.2g}"
    if compiled is not None:
        figures[pointwise] = times.speedup("compiled", over="packed")
    return figures, int(cu_seqlens[-1]) / times.median("packed")


def to_sequences(ids: np.ndarray, cu_seqlens: np.ndarray) -> Sequences:
    """Return rows of one sequence each, without a language, as a shard has them."""
    num_rows = len(cu_seqlens) - 1
    rows, nothing = np.arange(num_rows + 1, dtype=np.int32), np.zeros(0, np.int32)
    langs = np.full(num_rows, -1, np.int32)
    return Sequences(ids, cu_seqlens, langs, rows, np.zeros(num_rows, np.int32), nothing, nothing)


def embed(sequences: Sequences, dim: int) -> EmbeddingCollector:
    """Return what collects a vector for each row."""
    return EmbeddingCollector(sequences, pooling="mean", layers=[-1], dim=dim, normalize=False, each_window=False)


def count_waits(function: Callable[[], None]) -> int:
    """Count the operations that wait until the GPU has done all its work. Waiting for an event is not one of them."""
    mode = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            function()
        finally:
            torch.cuda.set_sync_debug_mode(mode)
    return sum("synchronizing CUDA operation" in str(warning.message) for warning in caught)


def build_reference(
    config: XLMConfig, ours: XLMModel, device: str, dtype: torch.dtype
) -> tuple[Callable[[Tensor, Tensor], object], str]:
    """Return a function that runs padded batches as transformers does, or with our layers, and what it uses."""
    if importlib.util.find_spec("transformers") is None:
        return lambda ids, mask: run_padded(ours, ids, mask), "transformers is not installed: our layers and SDPA"
    import transformers

    with torch.device(device):
        shape = {name: getattr(config, name) for name in ("vocab_size", "emb_dim", "n_layers", "n_heads")}
        reference = transformers.XLMModel(transformers.XLMConfig(**shape)).eval().to(dtype)
    return lambda ids, mask: reference(input_ids=ids, attention_mask=mask), "transformers"


@dataclass(frozen=True)
class PaddedPlan:
    """Attention over padded sequences, with a mask: what packed batches are compared with."""

    mask: Tensor  # bool [B, L], False at pads

    def to_plan_order(self, packed: Tensor) -> Tensor:
        return packed

    def to_batch_order(self, packed: Tensor) -> Tensor:
        return packed

    def attend(self, qkv_T3NH: Tensor) -> Tensor:
        q, k, v = qkv_T3NH.unflatten(0, self.mask.shape).permute(2, 0, 3, 1, 4).unbind(0)
        context = F.scaled_dot_product_attention(q, k, v, attn_mask=self.mask[:, None, None])
        return context.transpose(1, 2).flatten(0, 1)


def run_padded(model: XLMModel, ids_BL: Tensor, mask_BL: Tensor) -> Tensor:
    """Run the model's layers over padded sequences, including the pads."""
    num_sequences, length = ids_BL.shape
    cu_seqlens = torch.arange(0, ids_BL.numel() + 1, length, dtype=torch.int32)
    positions = torch.arange(length, dtype=torch.int32).repeat(num_sequences)
    ids = ids_BL.flatten()
    batch = PackedBatch(ids.cpu(), positions, cu_seqlens).to(ids_BL.device)
    return model.forward_with_plan(batch, PaddedPlan(mask_BL))[-1].unflatten(0, ids_BL.shape)


def compile_pointwise(model: XLMModel) -> Callable[[PackedBatch], Tensor]:
    """Return a forward pass whose bias-GELU and residual-norm are fused by torch.compile."""

    @torch.compile(dynamic=True)
    def residual_norm(update_TD: Tensor, hidden_TD: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
        return F.layer_norm(update_TD + hidden_TD, weight.shape, weight, bias, eps)

    @torch.compile(dynamic=True)
    def bias_gelu(product: Tensor, bias: Tensor) -> Tensor:
        return F.gelu(product + bias)

    def forward(layer, hidden_TD: Tensor, plan) -> Tensor:
        norm, ffn = layer.attention_norm, layer.ffn
        hidden_TD = residual_norm(layer.attention(hidden_TD, plan), hidden_TD, norm.weight, norm.bias, norm.eps)
        inner = bias_gelu(hidden_TD @ ffn.lin1.weight.T, ffn.lin1.bias)
        norm = layer.ffn_norm
        return residual_norm(ffn.lin2(inner), hidden_TD, norm.weight, norm.bias, norm.eps)

    def run(batch: PackedBatch) -> Tensor:
        for layer in model.layers:
            layer.forward = MethodType(forward, layer)
        try:
            return model.forward_packed(batch)
        finally:
            for layer in model.layers:
                del layer.forward

    return run


def has_tokenizer() -> bool:
    """Return whether the libraries are installed that segment all languages, and write a checkpoint."""
    return all(importlib.util.find_spec(name) for name in ("sacremoses", "rjieba", "fugashi", "pyarrow"))


def measure_cores(corpora: Corpora, tokens_per_s: float, size: Size) -> dict[str, float]:
    """Return how many cores tokenize as fast as the model computes: for each language, and for the mix of the corpora.

    Texts are new to the tokenizer, which keeps what it has seen.
    """
    from xlm_core import XLMTokenizer

    num_texts = TEXTS_PER_LANG if size is FULL else 2
    cores: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = write_checkpoint(Path(folder) / "checkpoint", corpora.sentences, emb_dim=8, n_layers=1)

        def rate(chosen: list[Sentence]) -> float:
            tokenizer = XLMTokenizer.from_pretrained(checkpoint, zh="rjieba", ja="fugashi")
            tokenizer.encode_batch([text for _, text in chosen[:2]], [lang for lang, _ in chosen[:2]])  # loads models
            began = time.process_time()
            encoding = tokenizer.encode_batch([text for _, text in chosen], [lang for lang, _ in chosen])
            return len(encoding.input_ids) / (time.process_time() - began)

        by_lang: dict[str, list[Sentence]] = {}
        for sentence in reversed(corpora.sentences):  # the vocabulary is learned from the first ones
            by_lang.setdefault(sentence.lang, []).append(sentence)
        cores["all languages"] = tokens_per_s / rate(corpora.sentences[-10 * num_texts :])
        for lang, texts in by_lang.items():
            cores[lang] = tokens_per_s / rate(texts[:num_texts])
    return cores


def _until_done(function: Callable[[], object]) -> Callable[[], None]:
    def run() -> None:
        function()
        if torch.cuda.is_available():
            torch.cuda.synchronize()

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--toy", action="store_true", help="a small size, on a CPU")
    parser.add_argument("--corpora", help="a folder with ud_pos.parquet, tatoeba.parquet, xquad.parquet")
    args = parser.parse_args()
    corpora = read_corpora(args.corpora)
    print(f"{time.strftime('%Y-%m-%d')}, {describe_machine()}; {corpora.description}\n", flush=True)
    print(format_rows(list(measure(corpora, TOY if args.toy else FULL))))


if __name__ == "__main__":
    main()
