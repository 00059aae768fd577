"""Result columns without regard to a task: how to build, verify, compare and display them. None of it needs torch."""

from pipelines.results.columns import list_column, list_of, required, span_column, struct_column
from pipelines.results.comparison import (
    CompareFields,
    Comparison,
    RowDifferences,
    compare_best,
    compare_best_of_each,
    compare_categories,
    compare_label_scores,
    compare_labelled_spans,
    compare_numbers,
    compare_values,
)
from pipelines.results.quantization import Ranges
from pipelines.results.rendering import (
    MAX_ITEMS,
    render_bits,
    render_items,
    render_number_list,
    render_numbers,
    render_scalar,
    render_text,
    render_value,
    render_vector,
    render_vector_list,
)
from pipelines.results.vector_comparison import compare_vectors
from pipelines.results.verification import (
    ResultFindings,
    count_vectors,
    verify_finite,
    verify_spans,
    verify_unit_length,
)

__all__ = [
    "MAX_ITEMS",
    "CompareFields",
    "Comparison",
    "Ranges",
    "ResultFindings",
    "RowDifferences",
    "compare_best",
    "compare_best_of_each",
    "compare_categories",
    "compare_label_scores",
    "compare_labelled_spans",
    "compare_numbers",
    "compare_values",
    "compare_vectors",
    "count_vectors",
    "list_column",
    "list_of",
    "render_bits",
    "render_items",
    "render_number_list",
    "render_numbers",
    "render_scalar",
    "render_text",
    "render_value",
    "render_vector",
    "render_vector_list",
    "required",
    "span_column",
    "struct_column",
    "verify_finite",
    "verify_spans",
    "verify_unit_length",
]
