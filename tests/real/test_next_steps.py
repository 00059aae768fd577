"""The messages of a run that cannot continue name what helps, and it helps."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.errors import FatalError
from pipelines.run.execute import run
from tests.flow.run.outputs import quiet_console


def test_wrong_id_column_is_named_without_counting_the_whole_corpus(make_job, tmp_path):
    langs = ["en", "de"] * 100_000
    pq.write_table(pa.table({"text": langs, "lang": langs}), tmp_path / "in.parquet", row_group_size=10_000)
    job = make_job(input={"path": str(tmp_path / "in.parquet"), "id": "lang", "text": "text", "lang": "lang"})
    with pytest.raises(FatalError) as raised:
        run(job, quiet_console())
    message = str(raised.value)
    assert "input.id lang: 65,566 rows of the first 65,568 with the id of an earlier row" in message
    assert "in.parquet row 2 has that of" in message
    assert message.endswith("name a column of unique ids, or set policy.duplicate_ids to reject or ignore")
