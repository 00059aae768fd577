"""Time of the tokenizer relative to the reference: `python -m tests.bench.bench_tokenizer`.

Ours also computes the characters of each token, which the reference does not.
"""

import json
import tempfile
from importlib.resources import files
from pathlib import Path

import transformers

from jobs.demo.build import write_checkpoint
from tests.bench.timing import compare_times
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
        print(f"{'language':10}{'ours, us per text':>18}{'ratio to reference':>22}   (medians of {ROUNDS} rounds)")
        for lang in sorted({row["lang"] for row in rows} - {"ja"}):
            texts = [row["text"] for row in rows if row["lang"] == lang] * 10
            ours = XLMTokenizer.from_pretrained(checkpoint, zh="rjieba")

            def encode(texts=texts, lang=lang, ours=ours) -> None:
                ours.encode_batch(texts, [lang] * len(texts))

            def encode_reference(texts=texts, lang=lang) -> None:
                for text in texts:
                    reference.convert_tokens_to_ids(reference._tokenize(text, lang=lang))

            ratio = compare_times(encode, encode_reference, ROUNDS)
            print(f"{lang:10}{ratio.ours_s / len(texts) * 1e6:18.0f}{ratio.median:22.2f}")


if __name__ == "__main__":
    main()
