"""Learn the tokenizer of a checkpoint from the words of its training text."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from xlm_core.errors import TokenizerError, format_count
from xlm_core.tokenizer import (
    ADDITIONAL_SPECIAL_TOKENS,
    ALL_SPECIAL_TOKENS,
    END_OF_WORD,
    SPECIAL_TOKENS,
    TokenizerFiles,
    WordEncoder,
)
from xlm_core.vocabulary.merges import learn_merges

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_WORDS_AT_ONCE = 2**16


def learn_tokenizer(
    lang_counts: Mapping[str | None, Mapping[str, int]],
    vocab_size: int,
    *,
    alpha: float = 0.5,
    min_count: int = 2,
    lowercase: bool = True,
) -> TokenizerFiles:
    """Learn vocabulary and merges, as for the released checkpoints.

    The vocabulary consists of the special tokens, then the characters that occur at least `min_count` times, each alone
    and with `</w>`, and the results of all merges. Those are in the order of their counts in the words once these are
    split. A text of these characters has no unknown token, unlike in the released checkpoints, whose vocabularies do
    not contain all results of merges.

    The result does not depend on the order of languages and words.

    Args:
        lang_counts: the words of each language and how often they occur, see `WordCounter`. None stands for words of an
            unknown language.
        vocab_size: maximum number of tokens.
        alpha: see `weigh_langs`.
        min_count: characters and pairs that occur less often are not in the vocabulary. Counts are the weighted ones.
        lowercase: whether the words are lower-cased and have no accents, as the tokenizer's will be.

    Returns:
        The tokenizer's files. Languages have ids in alphabetical order.

    Raises:
        TokenizerError: there are too few words, or too many characters for the size.
    """
    words = weigh_langs(lang_counts, alpha)
    frequent = [char for char, count in count_chars(words).items() if count >= min_count]
    chars = [*frequent, *(char + END_OF_WORD for char in frequent)]
    if not chars:
        raise TokenizerError(f"no character occurs {format_count(min_count, 'time')} in the texts; use more texts")
    num_merges = vocab_size - len(ALL_SPECIAL_TOKENS) - len(chars)
    if num_merges < 1:
        raise TokenizerError(
            f"vocab_size: got {vocab_size:,}, but {format_count(len(frequent), 'character')} that occur at least "
            f"{format_count(min_count, 'time')}, inside and at the end of words, and {len(ALL_SPECIAL_TOKENS)} special "
            f"tokens are {len(ALL_SPECIAL_TOKENS) + len(chars):,} tokens; set vocab_size or min_count higher"
        )
    merges = learn_merges(words, num_merges, min_count=min_count, reserved=[*ALL_SPECIAL_TOKENS, *chars])
    if not merges:
        raise TokenizerError(
            f"no two neighbouring characters occur {format_count(max(min_count, 2), 'time')} in the texts; use more "
            "texts"
        )
    counts = count_tokens(words, merges, [*chars, *map("".join, merges)])
    tokens = sorted(counts, key=lambda token: (-counts[token], token))
    langs = sorted(lang for lang in lang_counts if lang is not None)
    return TokenizerFiles(
        vocab={token: i for i, token in enumerate([*ALL_SPECIAL_TOKENS, *tokens])},
        merges=merges,
        lang2id={lang: i for i, lang in enumerate(langs)},
        lowercase=lowercase,
        special_tokens=dict(SPECIAL_TOKENS),
        additional_special_tokens=list(ADDITIONAL_SPECIAL_TOKENS),
    )


def weigh_langs(lang_counts: Mapping[str | None, Mapping[str, int]], alpha: float) -> Counter[str]:
    """Add up the counts of all languages, with more weight for small ones.

    A language with `n` words has the share `p = n / sum(n)` of the text, and is to have the share `q = p^alpha /
    sum(p^alpha)` (Lample and Conneau 2019, section 3.1). Instead of a random sample, the counts of its words are
    multiplied by `q / p` and rounded; by a multiple of it, so that the largest language keeps its counts. The paper's
    `n` is a number of sentences; texts of a corpus have different lengths.

    Args:
        lang_counts: the words of each language and how often they occur.
        alpha: 1 leaves all counts as they are, 0 gives all languages the same weight, the paper 0.5.
    """
    sizes = {lang: sum(counts.values()) for lang, counts in lang_counts.items()}
    largest = max(sizes.values(), default=0)
    total = Counter[str]()
    for lang, counts in lang_counts.items():
        factor = (largest / max(1, sizes[lang])) ** (1 - alpha)
        for word, count in counts.items():
            total[word] += round(count * factor)
    return total


def count_chars(word_counts: Mapping[str, int]) -> Counter[str]:
    """Count the characters of words. A space is counted as an empty text, which the tokenizer makes of it."""
    total = Counter[str]()
    for word, count in word_counts.items():
        for char in word:
            total[char] += count
    if " " in total:
        total[""] = total.pop(" ")
    return total


def count_tokens(
    word_counts: Mapping[str, int], merges: Mapping[tuple[str, ...], int], tokens: Iterable[str]
) -> dict[str, int]:
    """Count tokens in words that are split by the tokenizer, as `getvocab` of fastBPE does after `applybpe`.

    Args:
        word_counts: words and how often each occurs.
        merges: the rank of each pair.
        tokens: the tokens to count, all different.
    """
    tokens = list(tokens)
    unknown = len(tokens)
    encoder = WordEncoder({token: i for i, token in enumerate(tokens)}, unknown, merges, lowercase=False)
    totals = np.zeros(unknown + 1, np.int64)
    words = list(word_counts)
    for first in range(0, len(words), _WORDS_AT_ONCE):
        group = words[first : first + _WORDS_AT_ONCE]
        pieces = encoder.encode(group)
        counts = np.array([word_counts[word] for word in group], np.int64)
        np.add.at(totals, pieces.ids, np.repeat(counts, pieces.sizes))
    return dict(zip(tokens, totals.tolist(), strict=False))
