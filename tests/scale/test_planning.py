"""Planning of 20,000 files: `tests.scale.run` plans a million."""

from tests.scale.planning import ROWS_PER_FILE, plan_files
from tests.scale.steps import Steps

NUM_FILES = 20_000


def test_footers_of_many_files_are_read_once_and_their_shards_stay():
    steps = Steps(lambda _: None)
    kept, again = plan_files(NUM_FILES, 10 * ROWS_PER_FILE, steps)
    assert (sum(kept["num_rows"].to_pylist()), len(kept)) == (NUM_FILES * ROWS_PER_FILE, NUM_FILES // 10)
    assert again.shards.slice(0, len(kept)).equals(kept)
    assert (again.num_rows, len(again.shards)) == ((NUM_FILES + 1) * ROWS_PER_FILE, NUM_FILES // 10 + 1)
    # a file takes about 500 bytes while it is planned
    assert all(step.grown_mb < 100 for step in steps.results.values()), steps.results
