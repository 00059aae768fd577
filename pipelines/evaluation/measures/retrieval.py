"""Measure of feature-extraction: how often the nearest vector is that of the translation.

Shapes: N pairs, D dimensions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute

from pipelines.errors import FatalError
from pipelines.evaluation.gold import to_column
from pipelines.evaluation.measures.measure import Measure, Metric, ratio
from pipelines.evaluation.measures.row_values import dense_entries
from pipelines.formatting import format_count
from pipelines.result_rows import to_array
from pipelines.results import first_vectors
from pipelines.rows import UNKNOWN_LANG, id_texts, is_id

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pipelines.evaluation.matching import Matched
    from pipelines.evaluation.resampling import Entries
    from pipelines.tasks import FeatureExtraction

pc: Any = pyarrow.compute  # its functions are generated at import, so type checkers do not know them

_CELLS_AT_ONCE = 2**25  # of the matrix of similarities: 128 MB
_ROUNDING = 1e-6  # cosines of equal vectors differ by less


class Retrieval(Measure):
    """Accuracy at 1 of finding the translation by cosine, in both directions, among the pairs of a language.

    The gold label is the vector of the translation, from another output, or a key that exactly the two rows of a pair
    have in common. If several vectors are nearest, each counts as an equal share.
    """

    metrics = (Metric("accuracy at 1, mean"), Metric("to the translation"), Metric("from the translation"))
    gold_names: ClassVar[tuple[str, ...]] = ("embedding", "pair")

    def __init__(self, task: FeatureExtraction, schema: pa.Schema):
        if task.windows == "each":
            raise FatalError("feature-extraction: rows have several vectors; run the job with windows: mean")
        (self._column,) = task.columns
        self._field = schema.field(self._column)
        self._vectors: list[NDArray[np.float32]] = []
        self._translations: list[NDArray[np.float32]] = []
        self._keys: list[pa.Array] = []

    @property
    def columns(self) -> list[str]:
        """See `Measure`."""
        return [self._column]

    def check_gold(self, field: pa.Field) -> str | None:
        """See `Measure`."""
        if is_id(field.type):
            return None
        if not pa.types.is_fixed_size_list(field.type):
            return "the vectors of translations, or keys of pairs"
        return None if field.type.list_size == self._field.type.list_size else f"vectors of type {self._field.type}"

    def add(self, rows: Matched) -> None:
        """See `Measure`."""
        assert rows.gold is not None
        self._vectors.append(_unit_vectors(self._field, to_array(rows.results[self._column])))
        field = rows.gold.schema.field(0)
        if is_id(field.type):
            self._keys.append(id_texts(to_column(rows.gold, field.name)))
        else:
            self._translations.append(_unit_vectors(field, to_array(rows.gold[field.name])))

    def finish(self, ids: pa.Array, langs: pa.Array | None) -> tuple[pa.Array, pa.Array | None]:
        """See `Measure`. Returns the ids and languages of pairs; with keys, these are the key and both languages."""
        vectors_ND = np.concatenate(self._vectors)
        codes: Any = pa.repeat(UNKNOWN_LANG, len(ids)) if langs is None else langs
        if self._keys:
            keys = pa.concat_arrays(self._keys)
            first, second = _find_pairs(keys, codes)
            translations_ND, vectors_ND = vectors_ND[second], vectors_ND[first]
            ids = keys.take(pa.array(first))
            codes = pc.binary_join_element_wise(codes.take(pa.array(first)), codes.take(pa.array(second)), "–")
        else:
            translations_ND = np.concatenate(self._translations)
        self._shares_N2 = np.empty((len(ids), 2))
        names = np.array(codes.to_pylist(), object)
        for lang in set(names.tolist()):
            rows = np.flatnonzero(names == lang)
            self._shares_N2[rows] = found_shares(vectors_ND[rows], translations_ND[rows])
        self._vectors, self._translations = [], []
        return ids, codes

    @property
    def num_sums(self) -> int:
        """See `Measure`."""
        return 3

    def entries(self, rows: NDArray[np.int64]) -> Entries:
        """See `Measure`."""
        return dense_entries(np.column_stack([self._shares_N2[rows], np.ones(len(rows))]))

    def compute(self, sums: NDArray[np.float64]) -> NDArray[np.float64]:
        """See `Measure`."""
        shares = ratio(sums[..., :2], sums[..., 2:])
        return np.concatenate([shares.mean(-1, keepdims=True), shares], -1)


def found_shares(a_ND: NDArray[np.float32], b_ND: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return whether the nearest vector of each one is its translation, in both directions.

    Args:
        a_ND, b_ND: vectors of length 1, such that equal rows are translations.

    Returns:
        [N, 2]: 1 if it is, 0 if not, or one part in k of k vectors that are equally near.
    """
    num = len(a_ND)
    own_N = np.einsum("nd,nd->n", a_ND, b_ND)
    num_near, has_nearer = np.zeros((num, 2), np.int64), np.zeros((num, 2), np.bool_)
    at_once = max(_CELLS_AT_ONCE // max(num, 1), 1)
    for start in range(0, num, at_once):
        some = slice(start, start + at_once)
        similarity = a_ND[some] @ b_ND.T
        for side, own, axis, target in ((0, own_N[some, None], 1, some), (1, own_N[None], 0, slice(None))):
            num_near[target, side] += (similarity >= own - _ROUNDING).sum(axis)
            has_nearer[target, side] |= (similarity > own + _ROUNDING).any(axis)
    return np.where(has_nearer, 0.0, 1 / np.maximum(num_near, 1))


def _unit_vectors(field: pa.Field, column: pa.Array) -> NDArray[np.float32]:
    vectors_ND = first_vectors(field, column)
    if pa.types.is_uint8(field.type.value_type):
        vectors_ND = 2 * vectors_ND - 1  # bits are signs
    norms = np.linalg.norm(vectors_ND, axis=1, keepdims=True)
    return (vectors_ND / np.where(norms > 0, norms, 1)).astype(np.float32)


def _find_pairs(keys: pa.Array, langs: pa.Array) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Find the two rows of each key, the one with the first language first."""
    order = pc.sort_indices(pa.table({"key": keys, "lang": langs}), [("key", "ascending"), ("lang", "ascending")])
    counts = pc.value_counts(keys)
    wrong = counts.filter(pc.not_equal(counts.field("counts"), 2))
    if len(wrong):
        raise FatalError(
            f"{format_count(len(wrong), 'key')} of pairs have another number of rows than 2, such as "
            f"{wrong.field('values')[0].as_py()}, which has {wrong.field('counts')[0].as_py()}"
        )
    rows = order.to_numpy().astype(np.int64)
    return rows[::2], rows[1::2]
