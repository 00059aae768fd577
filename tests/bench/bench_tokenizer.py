"""How long our tokenizer takes, as a ratio to the reference's in the same run: `python tests/bench/bench_tokenizer.py`.

Ours also gives every token's characters in the text; the reference has no such thing.
"""

import json
import tempfile
import time
from importlib.resources import files
from pathlib import Path

import transformers

from jobs.demo.build import write_checkpoint
from xlm_core import XLMTokenizer

ROUNDS = 7


def main() -> None:
    transformers.logging.set_verbosity_error()
    lines = (files("jobs.demo") / "corpus.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    with tempfile.TemporaryDirectory() as folder:
        write_checkpoint(Path(folder), rows)
        checkpoint = Path(folder) / "checkpoint"
        reference = transformers.XLMTokenizer(str(checkpoint / "vocab.json"), str(checkpoint / "merges.txt"))
        print(f"{'language':10}{'ours, us a text':>18}{'ratio to reference':>22}   (medians of {ROUNDS} rounds)")
        for lang in sorted({row["lang"] for row in rows} - {"ja"}):
            texts = [row["text"] for row in rows if row["lang"] == lang] * 10
            ours = XLMTokenizer.from_pretrained(checkpoint, zh="rjieba")
            spent: list[tuple[float, float]] = []
            for _ in range(ROUNDS):
                began = time.perf_counter()
                ours.encode_batch(texts, [lang] * len(texts))
                between = time.perf_counter()
                for text in texts:
                    reference.convert_tokens_to_ids(reference._tokenize(text, lang=lang))
                spent.append((between - began, time.perf_counter() - between))
            ratios = sorted(a / b for a, b in spent)
            middle = sorted(a for a, _ in spent)[ROUNDS // 2] / len(texts) * 1e6
            print(f"{lang:10}{middle:18.0f}{ratios[ROUNDS // 2]:22.2f}")


if __name__ == "__main__":
    main()
