from pathlib import Path

import pytest

from tests.chaos.driver.scenarios import Scenario, make_scenarios


@pytest.fixture(scope="session")
def scenarios(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Scenario]:
    """Prepare all scenarios, by name."""
    made = make_scenarios(tmp_path_factory.mktemp("scenarios"), demo / "checkpoint")
    return {scenario.name: scenario for scenario in made}
