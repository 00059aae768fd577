"""Decoding: from scores of tokens to words, entities and answers in the text. Pure functions over NumPy arrays.

A row has one sequence of tokens, or several windows if its text is long (`sequences`). `windows` selects each token of
a row once, `marks` keeps combining marks with their characters, `words` joins tokens to words, `entities` joins words
by their labels, which `label_scheme` reads, and `answers` finds spans of the context.

Letters, here and in the modules: N rows, S sequences, T their tokens, K selected tokens or candidates, W words, C
labels.
"""

from xlm_core.decoding.answers import (
    Answers,
    Candidates,
    beam_candidates,
    find_class_tokens,
    merge_answers,
    no_answer_scores,
    simple_candidates,
)
from xlm_core.decoding.entities import Entities, find_entities, group_entities
from xlm_core.decoding.label_scheme import OUTSIDE, LabelScheme, SchemeName, parse_label_scheme
from xlm_core.decoding.marks import attach_marks
from xlm_core.decoding.sequences import DistinctRows, Sequences, find_distinct_rows
from xlm_core.decoding.windows import (
    is_in_text,
    positions_in_text,
    text_ids,
    tokens_from_first_window,
    tokens_with_most_context,
)
from xlm_core.decoding.words import Aggregation, WordSpans, aggregate_scores, drop_blank_words, join_subwords

__all__ = [
    "OUTSIDE",
    "Aggregation",
    "Answers",
    "Candidates",
    "DistinctRows",
    "Entities",
    "LabelScheme",
    "SchemeName",
    "Sequences",
    "WordSpans",
    "aggregate_scores",
    "attach_marks",
    "beam_candidates",
    "drop_blank_words",
    "find_class_tokens",
    "find_distinct_rows",
    "find_entities",
    "group_entities",
    "is_in_text",
    "join_subwords",
    "merge_answers",
    "no_answer_scores",
    "parse_label_scheme",
    "positions_in_text",
    "simple_candidates",
    "text_ids",
    "tokens_from_first_window",
    "tokens_with_most_context",
]
