"""Byte-pair encoding as it is defined: count all pairs, merge the most frequent one, and so on."""

from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import pairwise


def learn_slowly(
    word_counts: Mapping[str, int], num_merges: int, min_count: int = 2, reserved: Iterable[str] = ()
) -> list[tuple[str, str]]:
    words = [([*word[:-1], word[-1] + "</w>"], count) for word, count in word_counts.items()]
    chars = sorted({symbol for word, _ in words for symbol in word}, key=lambda symbol: (symbol[0], len(symbol)))
    order = {symbol: i for i, symbol in enumerate(chars)}
    merges: list[tuple[str, str]] = []
    while len(merges) < num_merges:
        counts = Counter[tuple[str, str]]()
        for word, count in words:
            for pair in pairwise(word):
                counts[pair] += count
        known = order.keys() | reserved
        pairs = [pair for pair, count in counts.items() if count >= min_count and "".join(pair) not in known]
        if not pairs:
            break
        best = min(pairs, key=lambda pair: (-counts[pair], order[pair[0]], order[pair[1]]))
        merges.append(best)
        order["".join(best)] = len(order)
        words = [(merge_pair(word, best), count) for word, count in words]
    return merges


def merge_pair(word: list[str], pair: tuple[str, str]) -> list[str]:
    merged: list[str] = []
    rest = iter(range(len(word)))
    for i in rest:
        if tuple(word[i : i + 2]) == pair:
            merged.append("".join(pair))
            next(rest)
        else:
            merged.append(word[i])
    return merged
