"""Time of the tokenizer relative to the reference, for each language: `python -m tests.bench.run tokenizer`.

Ours also computes the characters of each token, which the reference does not.
"""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import transformers

from tests.bench.corpora import Corpora, write_checkpoint
from tests.bench.table import Row
from tests.bench.timing import time_alternately
from xlm_core import XLMTokenizer

ROUNDS = 7
TEXTS = 200  # of each language


def measure(corpora: Corpora) -> Iterator[Row]:
    transformers.logging.set_verbosity_error()
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = write_checkpoint(Path(folder) / "checkpoint", corpora.sentences, emb_dim=8, n_layers=1)
        reference = transformers.XLMTokenizer(str(checkpoint / "vocab.json"), str(checkpoint / "merges.txt"))
        for lang in sorted({lang for lang, _ in corpora.sentences} - {"ja", "zh"}):
            texts = [text for own_lang, text in corpora.sentences if own_lang == lang][:TEXTS]
            ours = XLMTokenizer.from_pretrained(checkpoint)

            def encode(texts=texts, lang=lang, ours=ours) -> None:
                ours.encode_batch(texts, [lang] * len(texts))

            def encode_reference(texts=texts, lang=lang) -> None:
                for text in texts:
                    reference.convert_tokens_to_ids(reference._tokenize(text, lang=lang))

            times = time_alternately({"ours": encode, "reference": encode_reference}, ROUNDS, time.process_time)
            yield Row(f"text to ids and offsets, {lang}: the reference", times.speedup("ours", over="reference"))
