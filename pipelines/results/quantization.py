"""Quantization of embeddings to int8, within the ranges of float embeddings from an earlier run.

Shapes: D dimensions.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.errors import FatalError
from pipelines.storage import describe_error, find_files, locate

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from pipelines.storage import Location, StoreSettings


@dataclass(frozen=True)
class Ranges:
    """The smallest and the largest value of each dimension, float32 [D]. int8 divides each range into 255 steps."""

    low: NDArray[np.float32]
    high: NDArray[np.float32]

    @classmethod
    def read(
        cls, url: str, stores: Sequence[StoreSettings], column: str, dim: int, metadata: Mapping[str, str]
    ) -> Ranges:
        """Read the ranges of the float embeddings in the output of an earlier run.

        Args:
            url: the output.
            stores: options of object stores.
            column: the column with vectors or lists of vectors.
            dim: D.
            metadata: how the vectors must have been computed, by the keys of the column's metadata.

        Raises:
            FatalError: there are no finite embeddings, or they were computed in a different way.
        """
        low, high = np.full(dim, np.inf, np.float32), np.full(dim, -np.inf, np.float32)
        for file in find_files(url, stores, "calibration"):
            location = locate(file.url, stores)
            try:
                file_low, file_high = location.with_retries(partial(_read_range, location, column, dim, metadata))
            except pa.ArrowException as error:
                raise FatalError(
                    f"{file.url}: calibration cannot read this file ({describe_error(error)}); "
                    "name the output of a finished run"
                ) from None
            low, high = np.minimum(low, file_low), np.maximum(high, file_high)
        if not np.isfinite(low).all() or not np.isfinite(high).all():
            raise FatalError(f"{url}: calibration found no finite embeddings; run a sample of the corpus first")
        return cls(low.astype(np.float32), high.astype(np.float32))

    def quantize(self, vectors: NDArray[np.float32]) -> NDArray[np.int8]:
        """Round values to the nearest step. Values outside their range are clipped to it."""
        span = np.where(self.high > self.low, self.high - self.low, 1.0)
        return np.clip(np.rint((vectors - self.low) / span * 255 - 128), -128, 127).astype(np.int8)


def _read_range(
    location: Location, column: str, dim: int, metadata: Mapping[str, str]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    low, high = np.full(dim, np.inf, np.float32), np.full(dim, -np.inf, np.float32)
    with location.open() as source:
        parquet = pq.ParquetFile(source)
        _check_column(location.url, parquet.schema_arrow, column, dim, metadata)
        for batch in parquet.iter_batches(columns=[column], batch_size=8192):
            vectors = batch.column(0)
            if pa.types.is_list(vectors.type):
                vectors = vectors.flatten()
            values = vectors.flatten().to_numpy(zero_copy_only=False).reshape(-1, dim)
            if len(values):
                low, high = np.minimum(low, values.min(0)), np.maximum(high, values.max(0))
    return low, high


def _check_column(url: str, schema: pa.Schema, column: str, dim: int, metadata: Mapping[str, str]) -> None:
    field = schema.field(column) if column in schema.names else None
    vector_type = None if field is None else field.type.value_type if pa.types.is_list(field.type) else field.type
    advice = "name the output of a run with the same settings and dtype float32"
    if (
        field is None
        or vector_type is None
        or not pa.types.is_fixed_size_list(vector_type)
        or not pa.types.is_floating(vector_type.value_type)
        or vector_type.list_size != dim
    ):
        found = "none" if field is None else str(field.type)
        raise FatalError(f"{url}: calibration needs a column {column} of {dim} floats, got {found}; {advice}")
    actual = {key.decode(): value.decode() for key, value in (field.metadata or {}).items()}
    if differences := [
        f"{key} {actual.get(key, 'unknown')}, expected {value}"
        for key, value in metadata.items()
        if actual.get(key) != value
    ]:
        raise FatalError(f"{url}: calibration was run with {'; '.join(differences)}; {advice}")
