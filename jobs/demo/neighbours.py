"""Nearest neighbours among the demo's embeddings: the texts of other languages that mean almost the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

QUERIES = ("sea-en", "bread-de", "garden-ru", "doctor-es")
NUM_NEIGHBOURS = 3


class Neighbour(NamedTuple):
    """A text that is near a query.

    Attributes:
        similarity: the cosine of both vectors.
        lang: the language that was found.
        text: the text.
    """

    similarity: float
    lang: str
    text: str


def find_neighbours(output: Path) -> dict[str, list[Neighbour]]:
    """Find the nearest texts in other languages for a few texts of the demo, nearest first.

    Args:
        output: the output of the demo's job.

    Returns:
        For each text, its neighbours.
    """
    table = pq.read_table(output / "data", columns=["id", "detected_lang", "text", "embedding"])
    ids, langs, texts = (table[name].to_pylist() for name in ("id", "detected_lang", "text"))
    vectors_ND: NDArray[np.float32] = np.stack(table["embedding"].to_numpy())
    langs_N = np.array(langs)
    found: dict[str, list[Neighbour]] = {}
    for query in (ids.index(query) for query in QUERIES if query in ids):
        similarity_N = np.where(langs_N == langs[query], -np.inf, vectors_ND @ vectors_ND[query])
        nearest = np.argsort(-similarity_N)[:NUM_NEIGHBOURS].tolist()
        found[texts[query]] = [Neighbour(float(similarity_N[i]), langs[i], texts[i]) for i in nearest]
    return found
