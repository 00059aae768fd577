"""Whether the tests would notice if a safeguard were gone."""

import pytest

from tests.chaos.safeguards import SAFEGUARDS, TREE, Safeguard, copy_tree, fails_without, removed


@pytest.mark.parametrize("safeguard", SAFEGUARDS, ids=lambda safeguard: safeguard.name)
def test_its_text_stands_in_the_product(safeguard: Safeguard):
    compile(removed(safeguard, (TREE / safeguard.file).read_text(encoding="utf-8")), safeguard.file, "exec")


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory):
    return copy_tree(tmp_path_factory.mktemp("tree"))


@pytest.mark.slow
@pytest.mark.parametrize("safeguard", SAFEGUARDS, ids=lambda safeguard: safeguard.name)
def test_a_test_fails_without_it(safeguard: Safeguard, tree):
    assert fails_without(safeguard, tree)
