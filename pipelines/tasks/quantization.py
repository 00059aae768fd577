"""Embeddings rounded to int8, between the ranges that an earlier run's float embeddings had."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.errors import FatalError
from pipelines.storage import locate
from pipelines.storage.listing import find_files
from pipelines.storage.retries import reason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pipelines.storage import Location
    from pipelines.storage.options import StoreSettings


@dataclass(frozen=True)
class Ranges:
    """The smallest and largest value of each dimension, float32 [D]; 256 steps of int8 lie between them."""

    low: NDArray[np.float32]
    high: NDArray[np.float32]

    @classmethod
    def read(cls, url: str, stores: Sequence[StoreSettings], column: str, dim: int, about: dict[str, str]) -> Ranges:
        """Find the ranges of an earlier run's float embeddings.

        Args:
            url: its output.
            stores: options of the store it lies in.
            column: the column of vectors, or of lists of vectors.
            dim: D.
            about: what the column's metadata has to say of how the vectors were made.

        Raises:
            FatalError: there are none, or they were made in another way.
        """
        low, high = np.full(dim, np.inf, np.float32), np.full(dim, -np.inf, np.float32)
        for file in find_files(url, stores, "calibration"):
            location = locate(file.url, stores)
            try:
                least, most = location.persistently(partial(_range_of, location, column, dim, about))
            except pa.ArrowException as error:
                raise FatalError(
                    f"{file.url}: calibration cannot read this file ({reason(error)}); name the output of a run, whole"
                ) from None
            low, high = np.minimum(low, least), np.maximum(high, most)
        if not np.isfinite(low).all() or not np.isfinite(high).all():
            raise FatalError(f"{url}: calibration found no finite embeddings; run a sample of the corpus first")
        return cls(low.astype(np.float32), high.astype(np.float32))

    def quantize(self, vectors: NDArray[np.float32]) -> NDArray[np.int8]:
        """Round to the nearest of the 256 steps; what lies outside the ranges gets the nearest end."""
        span = np.where(self.high > self.low, self.high - self.low, 1.0)
        return np.clip(np.rint((vectors - self.low) / span * 255 - 128), -128, 127).astype(np.int8)


def _range_of(
    location: Location, column: str, dim: int, about: dict[str, str]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    low, high = np.full(dim, np.inf, np.float32), np.full(dim, -np.inf, np.float32)
    with location.open() as source:
        parquet = pq.ParquetFile(source)
        _check(location.url, parquet.schema_arrow, column, dim, about)
        for batch in parquet.iter_batches(columns=[column], batch_size=8192):
            vectors = batch.column(0)
            if pa.types.is_list(vectors.type):
                vectors = vectors.flatten()
            values = vectors.flatten().to_numpy(zero_copy_only=False).reshape(-1, dim)
            if len(values):
                low, high = np.minimum(low, values.min(0)), np.maximum(high, values.max(0))
    return low, high


def _check(file: str, schema: pa.Schema, column: str, dim: int, about: dict[str, str]) -> None:
    field = schema.field(column) if column in schema.names else None
    kind = None if field is None else field.type.value_type if pa.types.is_list(field.type) else field.type
    floats = kind is not None and pa.types.is_fixed_size_list(kind) and pa.types.is_floating(kind.value_type)
    advice = "name the output of a run with the same settings and dtype float32"
    if field is None or kind is None or not floats or kind.list_size != dim:
        found = "none" if field is None else str(field.type)
        raise FatalError(f"{file}: calibration needs a column {column} of {dim} floats, got {found}; {advice}")
    told = {key.decode(): value.decode() for key, value in (field.metadata or {}).items()}
    if other := [
        f"{key} {told.get(key, 'unknown')}, not {value}" for key, value in about.items() if told.get(key) != value
    ]:
        raise FatalError(f"{file}: calibration was run with {'; '.join(other)}; {advice}")
