"""Planning of very many files: the listing and the footers are made up, and everything else is that of a run."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.corpus import Plan, ShardLimits
from pipelines.corpus.files import FileGroup, GroupedFiles, InputFiles
from pipelines.corpus.parquet import Footer, read_footer
from pipelines.job import InputSettings
from pipelines.run.prepare import _files
from pipelines.storage import FileInfo, encode_parquet, file_table, find_files_below, locate
from tests.plans import make_plan
from tests.scale.steps import Steps

ROWS_PER_FILE = 1_000
SPEC = InputSettings(path="s3://corpus/news/", text="text", lang="lang", id="id")


def plan_files(num_files: int, rows_per_shard: int, steps: Steps) -> tuple[pa.Table, Plan]:
    """Plan a corpus, store the plan, and plan the corpus again with one more file, as a later run does.

    Returns:
        The stored plan, and the second one.
    """
    limits = ShardLimits(rows_per_shard)
    with made_up_files(num_files):
        with steps.step(f"plan {num_files:,} files"):
            plan = make_plan(SPEC, limits, ())
        with steps.step("compare the output's path with those of the files"):
            assert not any(find_files_below(_files(plan.corpus), locate("/out")))
        with steps.step("write the plan"):
            data = encode_parquet(plan.to_table(), write_page_checksum=True)
    del plan  # in a later run, there is only the stored one
    with made_up_files(num_files + 1) as read:
        with steps.step("read the plan, and plan again with one more file"):
            kept = pq.read_table(pa.BufferReader(data), page_checksum_verification=True).combine_chunks()
            again = make_plan(SPEC, limits, (), kept)
        assert len(read) == 1
    return kept, again


@contextmanager
def made_up_files(number: int) -> Iterator[list[None]]:
    """List this many files, which all have the same footer. Yields an item for each footer that is read."""
    footer, read = _footer(), list[None]()

    def find(*_: Any) -> InputFiles:
        files = file_table(
            FileInfo(f"s3://corpus/news/2024/part-{i:07d}.parquet", 100_000, 1_700_000_000 * 10**9 + i)
            for i in range(number)
        )
        return InputFiles(GroupedFiles(files, np.zeros(number, np.int64), [FileGroup({})]), pa.schema([]), {}, [])

    def read_made_up(*_: Any, **__: Any) -> Footer:
        read.append(None)
        return footer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipelines.corpus.survey.find_input_files", find)
        patch.setattr("pipelines.corpus.survey._read_footer", read_made_up)
        yield read


def _footer() -> Footer:
    ids = [str(i) for i in range(ROWS_PER_FILE)]
    table = pa.table({"id": ids, "text": ["Some text of a row."] * ROWS_PER_FILE, "lang": ["de"] * ROWS_PER_FILE})
    pq.write_table(table, sink := io.BytesIO())
    return read_footer(pa.BufferReader(sink.getvalue()), table.column_names, sized_columns=["text"])
