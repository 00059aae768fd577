"""Distribute tests over the worker processes of pytest-xdist: one group at a time, the longest groups first.

Tests of one group run in one worker process. Groups are files, except for the folders below.
"""

import pytest
from xdist.scheduler import LoadScopeScheduling

# The tests of each of these folders share expensive fixtures: a Ray cluster, object store servers, prepared outputs.
# They take longest, so they start first; the many short files then fill up the worker that is free.
FOLDERS = (
    "tests/flow/run/",
    "tests/flow/train/",
    "tests/real/runs/",
    "tests/flow/nightly/",
    "tests/docs/",
    "tests/chaos/workers/",
    "tests/chaos/stores/",
    "tests/chaos/bad_input/",
    "tests/chaos/driver/",
    "tests/jobs/submission/",
)


def group_of(nodeid: str) -> str:
    """Return the group of a test: its folder, if it is one of `FOLDERS`, or its file."""
    file = nodeid.partition("::")[0]
    return next((folder for folder in FOLDERS if file.startswith(folder)), file)


def longest_first(item: pytest.Item) -> int:
    """Return a sort key that puts the tests of `FOLDERS` first, in the order of `FOLDERS`."""
    group = group_of(item.nodeid)
    return FOLDERS.index(group) if group in FOLDERS else len(FOLDERS)


class GroupScheduling(LoadScopeScheduling):
    """Assign one group of tests at a time to each worker.

    The marker `xdist_group` cannot be used: pytest-xdist 3.8 appends the group to the test's id, which pytest 9.2 has
    made read-only.
    """

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)
