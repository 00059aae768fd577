"""Time of the tokenizer relative to the reference: `python -m tests.bench.run tokenizer`.

The reference segments each text by the rules of its language, which its public call does not. Ours also computes the
characters of each token, which the reference does not, except in the rows without offsets.
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import transformers

from tests.bench.corpora import Corpora, Sentence, write_checkpoint
from tests.bench.table import Row
from tests.bench.timing import Times
from xlm_core import XLMTokenizer

ROUNDS = 5
TEXTS = 300  # of each language: as many to measure, and as many others that are seen before
GROUPS = {"zh": "zh, rjieba in both", "ja": "ja, the same segmenter in both", "th": "th"}
GOALS = {
    "Moses languages": {"seen before": "18 x", "new": "7 x", "from empty caches": "3 x"},
    "zh, rjieba in both": {"new": "6 x"},
    "ja, the same segmenter in both": {"new": "3 x"},
    "th": {"new": "1.5 x"},
}


def measure(corpora: Corpora) -> Iterator[Row]:
    transformers.logging.set_verbosity_error()
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = write_checkpoint(Path(folder) / "checkpoint", corpora.sentences, emb_dim=8, n_layers=1)
        model = corpora.folder and corpora.folder / "kytea/model.bin"
        ja: dict[str, Any] = {"kytea_model": model} if model and model.is_file() else {"ja": "fugashi"}
        ours = XLMTokenizer.from_pretrained(checkpoint, zh="rjieba", **ja)
        reference = transformers.XLMTokenizer(str(checkpoint / "vocab.json"), str(checkpoint / "merges.txt"))
        reference.ja_word_tokenizer = SimpleNamespace(getWS=ours.segmenters._segmenter("ja"))
        by_group: dict[str, tuple[list[Sentence], list[Sentence]]] = {}
        for lang in sorted({lang for lang, _ in corpora.sentences}):
            rows = [row for row in corpora.sentences if row.lang == lang][: 2 * TEXTS]
            others, held_out = by_group.setdefault(GROUPS.get(lang, "Moses languages"), ([], []))
            others += rows[: len(rows) // 2]
            held_out += rows[len(rows) // 2 :]
        for group, (others, held_out) in by_group.items():
            for situation, times in _time(ours, reference, others, held_out).items():
                for name, detail in (("ours", "ids and offsets"), ("without offsets", "ids")):
                    if name in times.seconds:
                        goal = GOALS[group].get(situation, "") if name == "ours" else ""
                        what = f"text to {detail}, {group}, {situation}: the reference"
                        yield Row(what, times.speedup(name, over="reference"), goal)


def _time(ours: XLMTokenizer, reference: Any, others: list[Sentence], held_out: list[Sentence]) -> dict[str, Times]:
    """Time both tokenizers alternately, with caches that have seen the texts, other texts or none."""

    def encode(rows: list[Sentence], **options: bool) -> None:
        ours.encode_batch([text for _, text in rows], [lang for lang, _ in rows], **options)

    def encode_without_offsets(rows: list[Sentence]) -> None:
        encode(rows, with_offsets=False)

    def encode_by_reference(rows: list[Sentence]) -> None:
        for lang, text in rows:
            reference.convert_tokens_to_ids(reference._tokenize(text, lang=lang))

    encode(held_out)  # loads segmenters and rules
    encode_by_reference(held_out)
    functions: dict[str, tuple[Callable[[list[Sentence]], None], Callable[[], None]]] = {
        "ours": (encode, ours.clear_memory),
        "without offsets": (encode_without_offsets, ours.clear_memory),
        "reference": (encode_by_reference, reference.cache.clear),
    }
    situations = {
        "seen before": Times({name: [] for name in functions}),
        "new": Times({name: [] for name in functions}),
        "from empty caches": Times({"ours": [], "reference": []}),
    }
    for _ in range(ROUNDS):
        for name, (function, clear) in functions.items():
            clear()
            if name in situations["from empty caches"].seconds:
                situations["from empty caches"].seconds[name].append(_seconds(function, held_out))
                clear()
            function(others)
            for situation in ("new", "seen before"):
                situations[situation].seconds[name].append(_seconds(function, held_out))
    return situations


def _seconds(function: Callable[[list[Sentence]], None], rows: list[Sentence]) -> float:
    began = time.process_time()
    function(rows)
    return time.process_time() - began
