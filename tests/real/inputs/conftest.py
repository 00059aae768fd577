"""Tables of lake formats in several versions."""

from pathlib import Path

import pytest
from deltalake import DeltaTable, write_deltalake

from tests.iceberg_catalog import FolderCatalog
from tests.real.inputs.lake_tables import MORE, ROWS


@pytest.fixture
def delta(tmp_path: Path) -> Path:
    """Write a Delta table in three versions: 3 rows, 6 rows, and 5 rows."""
    table = tmp_path / "lake" / "delta"
    write_deltalake(table, ROWS, partition_by=["lang", "day"])
    write_deltalake(table, MORE, mode="append")
    DeltaTable(table).delete("id = 'a'")
    return table


@pytest.fixture
def iceberg(tmp_path: Path) -> Path:
    """Write an Iceberg table with the same versions."""
    table = FolderCatalog().create(f"{tmp_path}/lake/iceberg", ROWS.schema, "lang")
    table.append(ROWS)
    table.append(MORE)
    table.delete("id = 'a'")
    return tmp_path / "lake" / "iceberg"
