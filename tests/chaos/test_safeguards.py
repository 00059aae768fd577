"""The product still contains the safeguards that `make chaos` removes."""

import pytest

from tests.chaos.safeguards import SAFEGUARDS, TREE, Safeguard, without_safeguard

pytestmark = pytest.mark.slow  # quick, but a changed line of code must fail `make chaos` only, not every test run


@pytest.mark.parametrize("safeguard", SAFEGUARDS, ids=lambda safeguard: safeguard.name)
def test_text_of_safeguard_occurs_once_and_can_be_replaced(safeguard: Safeguard):
    source = (TREE / safeguard.file).read_text(encoding="utf-8")
    compile(without_safeguard(safeguard, source), safeguard.file, "exec")
