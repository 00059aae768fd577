"""From scores of tokens to words, entities and answers in the text. Pure functions over NumPy arrays.

A row yields one sequence of tokens, or several windows of it where it is long. `windows` takes each token of a row
once, `words` joins tokens into words, `entities` joins labelled words, and `answers` finds spans of the context.

Letters, here and in the modules: N rows, S sequences, T their tokens, K chosen tokens or candidates, W words, C labels.
"""

from xlm_core.decoding.answers import (
    Answers,
    Candidates,
    beam_candidates,
    class_tokens,
    merge_answers,
    no_answer_per_row,
    simple_candidates,
)
from xlm_core.decoding.entities import Entities, LabelScheme, find_entities, group_entities, scheme_of
from xlm_core.decoding.windows import central_tokens, earliest_tokens, in_text, text_ids, token_numbers
from xlm_core.decoding.words import Words, aggregate, drop_blank, join_pieces

__all__ = [
    "Answers",
    "Candidates",
    "Entities",
    "LabelScheme",
    "Words",
    "aggregate",
    "beam_candidates",
    "central_tokens",
    "class_tokens",
    "drop_blank",
    "earliest_tokens",
    "find_entities",
    "group_entities",
    "in_text",
    "join_pieces",
    "merge_answers",
    "no_answer_per_row",
    "scheme_of",
    "simple_candidates",
    "text_ids",
    "token_numbers",
]
