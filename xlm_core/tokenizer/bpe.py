"""Byte-pair encoding of one word, with the merge tables of the released checkpoints.

The last character of a word carries the mark `</w>`. As long as any adjacent pair of symbols is in the merge table, the
pair with the lowest rank is merged everywhere in the word, from left to right (Sennrich et al. 2016).
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from itertools import compress
from typing import TYPE_CHECKING

from xlm_core.errors import TokenizerError
from xlm_core.files import check_regular_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

END_OF_WORD = "</w>"


def read_merges(path: Path) -> dict[tuple[str, ...], int]:
    """Read `merges.txt`: one pair and its count per line, most frequent first. The counts are not used.

    Returns:
        The rank of each pair. As in the reference, text after the last line break is ignored, and a pair that occurs
        twice has its later rank.

    Raises:
        TokenizerError: the file is missing, unreadable or not a merge table.
    """
    try:
        check_regular_file(path)
        lines = path.read_text(encoding="utf-8").split("\n")[:-1]
    except FileNotFoundError:
        raise TokenizerError(f"{path}: no merge table here; the tokenizer needs merges.txt and vocab.json") from None
    except OSError as error:
        raise TokenizerError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise TokenizerError(f"{path}: not UTF-8 at byte {error.start}; expected a BPE merge table") from None
    if lines and lines[0].startswith("\ufeff"):
        raise TokenizerError(f"{path}: begins with a byte order mark; save it as UTF-8 without one")
    merges = {tuple(line.split()[:2]): rank for rank, line in enumerate(lines)}
    if not any(len(pair) == 2 for pair in merges):
        raise TokenizerError(f"{path}: holds no merges ({len(lines)} lines); expected two symbols per line")
    return merges


def split_word(word: str, ranks: Mapping[tuple[str, ...], int]) -> list[str]:
    """Split a non-empty word into the symbols that the merge table builds.

    The time grows as n log n with the word's length, so that a very long text without spaces causes no harm.
    """
    symbols = [*word[:-1], word[-1] + END_OF_WORD]
    symbols = list(compress(symbols, merge_symbols(symbols, ranks)))
    # The reference writes symbols separated by spaces and splits that text again. A space within a word, which the Thai
    # and Japanese segmenters can return, therefore becomes empty symbols.
    return " ".join(symbols).split(" ") if " " in word else symbols


def merge_symbols(symbols: list[str], ranks: Mapping[tuple[str, ...], int]) -> list[bool]:
    """Merge the symbols of a word, in place, and return which of them remain."""
    size = len(symbols)
    before = list(range(-1, size - 1))  # neighbours, as a doubly linked list over the indices of `symbols`
    after = [*range(1, size), -1]
    remains = [True] * size
    queue = [(rank, i) for i in range(size - 1) if (rank := ranks.get((symbols[i], symbols[i + 1]))) is not None]
    heapify(queue)
    while queue:
        best = queue[0][0]
        new_pairs: list[tuple[int, int]] = []  # queued after this round, even those with a lower rank
        while queue and queue[0][0] == best:
            _, i = heappop(queue)
            right = after[i] if remains[i] else -1
            if right < 0 or ranks.get((symbols[i], symbols[right])) != best:
                continue
            symbols[i] += symbols[right]
            remains[right] = False
            after[i] = after[right]
            if after[right] >= 0:
                before[after[right]] = i
                new_pairs.append((i, after[i]))
            if before[i] >= 0:
                new_pairs.append((before[i], i))
        for left, right in new_pairs:
            if remains[left] and remains[right] and after[left] == right:
                rank = ranks.get((symbols[left], symbols[right]))
                if rank is not None:
                    heappush(queue, (rank, left))
    return remains
