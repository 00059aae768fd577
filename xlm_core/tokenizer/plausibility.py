"""Check that vocabulary, merges and embeddings belong together, although each file is valid alone.

Tables of merges have two properties by the way they are learned (Sennrich et al. 2016), and files from different
checkpoints, files cut off or in another order do not. The symbols of a merge are characters or results of earlier
merges; and a token of several characters is the result of a merge. On 16 tables learned from 8,000 to 140,000 distinct
words of one to 25 languages, with 1,200 to 19,000 merges, no merge and no token was an exception. In damaged ones, the
share was 6 % (a tenth of the lines missing at the end) to 83 % (two languages). The share of merges whose result is not
in the vocabulary is no such sign: it is 0 to 96 %, depending on the least frequency for which tokens were kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from xlm_core.errors import TokenizerError, format_list, format_value
from xlm_core.tokenizer.bpe import END_OF_WORD

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

_MAX_SHARE = 0.05  # of exceptions, in files that may belong together
_USUAL_SHARE = 0.0005  # a header line, tokens with spaces of other scripts, a few tokens added by hand
_FEW = 20  # exceptions in the small tables of tests
_MAX_UNUSED_SHARE = 0.1  # of embeddings without a token
_MAX_MULTIPLE = 128  # embeddings are padded to a multiple of a power of two, for the sake of matrix kernels
_MAX_LISTED = 3


def check_ids(vocab: Mapping[str, int], file: str) -> None:
    """Refuse a vocabulary in which two tokens have the same id.

    Raises:
        TokenizerError: the message has the first of them.
    """
    tokens: dict[int, str] = {}
    for token, token_id in vocab.items():
        if (other := tokens.setdefault(token_id, token)) != token:
            raise TokenizerError(
                f"{file}: id {token_id} is given to {format_value(other)} and to {format_value(token)}, expected one"
                " token per id; fetch the checkpoint again"
            )


def check_merges(
    vocab: Collection[str], merges: Mapping[tuple[str, ...], int], special_tokens: Collection[str], file: str
) -> list[str]:
    """Check that merges build on each other, and that they build the tokens of the vocabulary.

    Args:
        vocab: the tokens.
        merges: pair of symbols to rank; entries that are not pairs are lines of the file that are not merges.
        special_tokens: tokens that no text is split into.
        file: the path of the merges, for messages.

    Returns:
        Warnings, if a few do not.

    Raises:
        TokenizerError: more than 5 % do not, so that the ids of most texts would be wrong.
    """
    built: set[str] = set()
    unusable: list[str] = []
    for pair in sorted(merges, key=merges.__getitem__):
        if len(pair) == 2 and all(_is_char(symbol) or symbol in built for symbol in pair):
            built.add(pair[0] + pair[1])
        else:
            unusable.append(format_value(" ".join(pair)))
    never_built = [
        format_value(token)
        for token in vocab
        if not (_is_char(token) or token in built or token in special_tokens or token[:1] + token[-1:] == "<>")
    ]
    return [
        *_judge(
            unusable,
            len(merges),
            f"{file}: got {len(unusable):,} of {len(merges):,} lines that are no merges of characters or of results of"
            " earlier lines",
        ),
        *_judge(
            never_built,
            len(vocab),
            f"{file}: builds none of {len(never_built):,} of the {len(vocab):,} tokens in the vocabulary",
        ),
    ]


def check_vocab_size(vocab: Mapping[str, int], num_embeddings: int, name: str) -> list[str]:
    """Check that a vocabulary has about as many tokens as a model has word embeddings.

    Args:
        vocab: token to id.
        num_embeddings: the rows of the embedding.
        name: the checkpoint's name, for messages.

    Returns:
        Warnings, if some embeddings have no token.

    Raises:
        TokenizerError: an id has no embedding, or more than a tenth of the embeddings have no token.
    """
    max_id = max(vocab.values(), default=-1)
    if max_id >= num_embeddings:
        raise TokenizerError(
            f"{name}: vocab.json has ids up to {max_id}, but the model has {num_embeddings} embeddings; the two are "
            "from different checkpoints"
        )
    num_unused = num_embeddings - len(set(vocab.values()))
    multiple = min(num_embeddings & -num_embeddings, _MAX_MULTIPLE)
    is_padding = num_embeddings - 1 - max_id == num_unused < multiple
    if num_unused > _MAX_UNUSED_SHARE * num_embeddings:
        raise TokenizerError(
            f"{name}: vocab.json has {len(vocab):,} tokens, but the model has {num_embeddings:,} embeddings; the two "
            "are from different checkpoints, or vocab.json is incomplete: fetch both from the same checkpoint"
        )
    if num_unused <= max(1, _USUAL_SHARE * num_embeddings) or is_padding:
        return []
    return [
        f"{name}: vocab.json has {len(vocab):,} tokens, but the model has {num_embeddings:,} embeddings; check that "
        "both are from the same checkpoint"
    ]


def _is_char(symbol: str) -> bool:
    return len(symbol.removesuffix(END_OF_WORD)) <= 1


def _judge(exceptions: Sequence[str], total: int, problem: str) -> list[str]:
    if len(exceptions) > max(_MAX_SHARE * total, _FEW):
        raise TokenizerError(
            f"{problem} ({format_list(exceptions, _MAX_LISTED)}); fetch vocab.json and merges.txt again, both from the"
            " same checkpoint"
        )
    if len(exceptions) <= max(1, _USUAL_SHARE * total):
        return []
    return [f"{problem} ({format_list(exceptions, _MAX_LISTED)}); check that both files are complete"]
