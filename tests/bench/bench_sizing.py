"""How many CPU cores tokenize for one device: `python -m tests.bench.bench_sizing CHECKPOINT CORPUS.parquet`.

Measures the tokenizer on one core, for each language of the corpus, and the model on the GPU of this machine, or on one
core if it has none. infra/README.md explains the result.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch

from xlm_core import PackedBatch, XLMModel, XLMTokenizer, plan_batches, take_ragged

WARM_UP_TEXTS = 20  # dictionaries of segmenters are loaded


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", help="a directory")
    parser.add_argument("corpus", help="a Parquet file")
    parser.add_argument("--text", default="text", help="the column of texts")
    parser.add_argument("--lang", default="lang", help="the column of languages")
    parser.add_argument("--max-texts", type=int, default=5000, help="of each language")
    parser.add_argument("--max-tokens", type=int, default=20_000, help="for the model")
    args = parser.parse_args()
    tokenizer = XLMTokenizer.from_pretrained(args.checkpoint, ja="fugashi")
    table = pq.read_table(args.corpus, columns=[args.text, args.lang])
    texts, langs = table[args.text].to_pylist(), np.array(table[args.lang].to_pylist())
    model_rate, device = measure_model(args.checkpoint, tokenizer, texts, langs.tolist(), args.max_tokens)
    print(f"model: {model_rate:,.0f} tokens/s on {device}")
    print(f"{'':10}{'':8}{'characters':>12}{'characters/s':>14}{'tokens/s':>12}{'cores for':>12}")
    print(f"{'language':10}{'texts':>8}{'per token':>12}{'and core':>14}{'and core':>12}{'this model':>12}")
    tokens_of, seconds_of = [], []
    for lang in sorted(set(langs)):
        chosen = [texts[i] for i in np.flatnonzero(langs == lang)[: args.max_texts]]
        num_tokens, seconds = measure_tokenizer(tokenizer, chosen, lang)
        rate, chars = num_tokens / seconds, sum(map(len, chosen))
        print(
            f"{lang:10}{len(chosen):8,}{chars / num_tokens:12.1f}{chars / seconds:14,.0f}{rate:12,.0f}"
            f"{model_rate / rate:12.3f}"
        )
        share = np.mean(langs == lang) * num_tokens / len(chosen)  # tokens of the corpus in this language, per text
        tokens_of.append(share)
        seconds_of.append(share / rate)
    rate = sum(tokens_of) / sum(seconds_of)
    print(f"{'all':10}{len(texts):8,}{'':26}{rate:12,.0f}{model_rate / rate:12.3f}")


def measure_tokenizer(tokenizer: XLMTokenizer, texts: list[str], lang: str) -> tuple[int, float]:
    """Return the number of tokens of the texts, and the seconds of CPU time for them."""
    tokenizer.encode_batch(texts[:WARM_UP_TEXTS], [lang] * len(texts[:WARM_UP_TEXTS]))
    began = time.process_time()
    # Once only: the tokenizer keeps the pieces of words that it has seen.
    encoding = tokenizer.encode_batch(texts, [lang] * len(texts), max_length=512)
    return len(encoding.input_ids), time.process_time() - began


def measure_model(
    checkpoint: str, tokenizer: XLMTokenizer, texts: list[str], langs: list[str], max_tokens: int
) -> tuple[float, str]:
    """Return the tokens per second of the model on this machine's device, and a description of the device."""
    use_gpu = torch.cuda.is_available()
    device, dtype = ("cuda", torch.float16) if use_gpu else ("cpu", torch.float32)
    model = XLMModel.from_pretrained(Path(checkpoint)).eval().to(device=device, dtype=dtype)
    sample = np.random.default_rng(0).permutation(len(texts))[:2000]
    encoding = tokenizer.encode_batch([texts[i] for i in sample], [langs[i] for i in sample], max_length=512)
    lengths = np.diff(encoding.cu_seqlens)
    lengths = lengths[: max(1, int(np.searchsorted(np.cumsum(lengths), max_tokens)))]
    cu_seqlens = encoding.cu_seqlens[: len(lengths) + 1]

    def forward() -> None:
        for index in plan_batches(lengths, 32_768 if use_gpu else 2_048):
            batch = PackedBatch.from_ragged(*take_ragged(encoding.input_ids, cu_seqlens, index)).to(device)
            model.forward_packed(batch)
        if use_gpu:
            torch.cuda.synchronize()

    torch.set_num_threads(1)
    clock = time.perf_counter if use_gpu else time.process_time  # other processes of the machine take CPUs
    with torch.inference_mode():
        forward()
        began = clock()
        forward()
        seconds = clock() - began
    return int(cu_seqlens[-1]) / seconds, f"{torch.cuda.get_device_name() if use_gpu else 'one core'}, {dtype}"


if __name__ == "__main__":
    main()
