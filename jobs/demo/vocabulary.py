"""Learn a small vocabulary from a handful of texts, in the shape of the released ones.

Like those, it was cut after the merges were learnt: some merges build symbols that are not in `vocab.json`, and each
such symbol is one `<unk>`. `merges.txt` has the pair's count as its third column.
"""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING

from xlm_core.tokenizer import ADDITIONAL_SPECIAL_TOKENS, END_OF_WORD

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

Pair = tuple[str, str]

# The released vocabularies begin so; ids 0 to 3 are what the model's bos, eos, pad and unk indices mean.
FIRST_TOKENS = ["<s>", "</s>", "<pad>", "<unk>", *ADDITIONAL_SPECIAL_TOKENS]


def learn_merges(words: Mapping[str, int], num_merges: int) -> list[tuple[Pair, int]]:
    """Learn byte-pair merges from word counts (Sennrich et al. 2016, algorithm 1).

    Returns:
        At most `num_merges` pairs with their counts, in the order learnt; ties go to the smaller pair, so that equal
        input gives equal merges.
    """
    symbols = {word: [*word[:-1], word[-1] + END_OF_WORD] for word in words}
    counts: Counter[Pair] = Counter()
    holders: dict[Pair, set[str]] = {}
    for word, parts in symbols.items():
        for pair in pairwise(parts):
            counts[pair] += words[word]
            holders.setdefault(pair, set()).add(word)
    merges: list[tuple[Pair, int]] = []
    while len(merges) < num_merges and counts:
        best, count = min(counts.items(), key=lambda item: (-item[1], item[0]))
        if count < 2:
            break
        merges.append((best, count))
        for word in sorted(holders.pop(best)):
            parts = symbols[word]
            for pair in pairwise(parts):
                counts[pair] -= words[word]
                if counts[pair] <= 0:
                    del counts[pair]
            symbols[word] = parts = _merge(parts, best)
            for pair in pairwise(parts):
                counts[pair] += words[word]
                holders.setdefault(pair, set()).add(word)
        counts.pop(best, None)
    return merges


def write_vocabulary(folder: Path, words: Iterable[str], num_merges: int, keep: float = 0.9) -> int:
    """Learn merges from words and write `vocab.json` and `merges.txt`.

    Args:
        folder: where the two files go.
        words: words as the tokenizer's segmenters give them, repeated as often as they occur.
        num_merges: how many merges to learn at most.
        keep: the share of merged symbols that enter the vocabulary; the last learnt are cut.

    Returns:
        The vocabulary's size.
    """
    counts = Counter(word for word in words if word)
    merges = learn_merges(counts, num_merges)
    chars = sorted({c for word in counts for c in (*word, word[-1] + END_OF_WORD)})
    merged = ["".join(pair) for pair, _ in merges]
    tokens = [*FIRST_TOKENS, *chars, *merged[: int(len(merged) * keep)]]
    vocab = {token: i for i, token in enumerate(dict.fromkeys(tokens))}
    (folder / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")
    lines = [f"{left} {right} {count}\n" for (left, right), count in merges]
    (folder / "merges.txt").write_text("".join(lines), encoding="utf-8")
    return len(vocab)


def _merge(parts: list[str], pair: Pair) -> list[str]:
    out: list[str] = []
    for part in parts:
        # `out[-1]` may be a symbol this merge has just made; it is longer than the pair's left side, so never merges
        if out and (out[-1], part) == pair:
            out[-1] += part
        else:
            out.append(part)
    return out
