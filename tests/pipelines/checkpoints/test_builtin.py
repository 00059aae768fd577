"""The checkpoints in the package are used where they are installed, by jobs and by the library."""

import pytest

from pipelines.checkpoints.cache import local_checkpoint, pin_checkpoint
from pipelines.errors import FatalError
from tests.pipelines.checkpoints.cache_directory import file_names
from xlm_core import XLM, content_hash
from xlm_core.builtin import builtin_directory

LIMIT_BYTES = 12_000_000


def test_checkpoint_of_the_package_is_used_without_a_copy(cache):
    pinned = pin_checkpoint("builtin://small/heads/upos")
    folder = builtin_directory("builtin://small/heads/upos")
    assert pinned.url == "builtin://small/heads/upos", "nodes may have the package in another place"
    assert local_checkpoint(pinned) == folder
    assert pinned.content_hash == content_hash(folder)
    assert file_names(cache / "checkpoints") == set()


def test_other_names_are_refused_with_those_that_exist():
    message = (
        "builtin://large: no such checkpoint; the package contains builtin://small, builtin://small/heads/language, "
        "builtin://small/heads/upos"
    )
    for use in (pin_checkpoint, XLM.from_pretrained):
        with pytest.raises(FatalError) as refused:
            use("builtin://large")
        assert str(refused.value) == message


def test_package_stays_small():
    folder = builtin_directory("builtin://small")
    assert sum(file.stat().st_size for file in folder.rglob("*")) < LIMIT_BYTES
