"""Learn a small vocabulary from a few texts, in the format of the released ones.

Like those, it is truncated after the merges are learned: some merges build symbols that are not in `vocab.json`, and
each such symbol becomes one `<unk>`. The third column of `merges.txt` is the pair's count.
"""

from __future__ import annotations

import json
from collections import Counter
from heapq import heapify, heappop, heappush
from itertools import pairwise
from typing import TYPE_CHECKING

from xlm_core.tokenizer import ADDITIONAL_SPECIAL_TOKENS, END_OF_WORD

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

Pair = tuple[str, str]

# The first tokens of the released vocabularies. Ids 0 to 3 are the model's bos, eos, pad and unk indices.
FIRST_TOKENS = ["<s>", "</s>", "<pad>", "<unk>", *ADDITIONAL_SPECIAL_TOKENS]


def learn_merges(words: Mapping[str, int], num_merges: int) -> list[tuple[Pair, int]]:
    """Learn byte-pair merges from word counts (Sennrich et al. 2016, algorithm 1).

    Returns:
        At most `num_merges` pairs with their counts, in the order in which they were learned. Of pairs with equal
        counts the smaller one is first, so that the result is deterministic.
    """
    symbols = {word: [*word[:-1], word[-1] + END_OF_WORD] for word in words}
    counts: Counter[Pair] = Counter()
    words_with_pair: dict[Pair, set[str]] = {}
    for word, parts in symbols.items():
        for pair in pairwise(parts):
            counts[pair] += words[word]
            words_with_pair.setdefault(pair, set()).add(word)
    heap = [(-count, pair) for pair, count in counts.items()]
    heapify(heap)
    merges: list[tuple[Pair, int]] = []
    while len(merges) < num_merges and heap:
        negative, best = heappop(heap)
        if counts[best] != -negative:
            continue  # the count has changed, and is in the heap, too
        if counts[best] < 2:
            break
        merges.append((best, counts[best]))
        changed: set[Pair] = set()
        for word in sorted(words_with_pair.pop(best)):
            parts = symbols[word]
            for pair in pairwise(parts):
                counts[pair] -= words[word]
                changed.add(pair)
            symbols[word] = parts = _merge(parts, best)
            for pair in pairwise(parts):
                counts[pair] += words[word]
                changed.add(pair)
                words_with_pair.setdefault(pair, set()).add(word)
        for pair in changed - {best}:
            heappush(heap, (-counts[pair], pair))
    return merges


def write_vocabulary(folder: Path, words: Iterable[str], num_merges: int, keep: float = 0.9) -> int:
    """Learn merges from words and write `vocab.json` and `merges.txt`.

    Args:
        folder: where the two files are written.
        words: all words of the texts, as the tokenizer's segmenters return them.
        num_merges: maximum number of merges to learn.
        keep: the share of merged symbols in the vocabulary; those learned last are left out.

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
        # If `out[-1]` is a result of this merge, it is longer than the pair's left side, so it is not merged again.
        if out and (out[-1], part) == pair:
            out[-1] += part
        else:
            out.append(part)
    return out
