"""Whether the tests would notice if a safeguard were gone; `make chaos` takes each of them out and sees."""

import pytest

from tests.chaos.safeguards import SAFEGUARDS, TREE, Safeguard, removed


@pytest.mark.parametrize("safeguard", SAFEGUARDS, ids=lambda safeguard: safeguard.name)
def test_its_text_stands_in_the_product(safeguard: Safeguard):
    compile(removed(safeguard, (TREE / safeguard.file).read_text(encoding="utf-8")), safeguard.file, "exec")
