from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.stores.servers import azure_server, gcs_server, s3_server
from tests.chaos.stores.store_jobs import Store, running_store


@pytest.fixture(scope="session")
def s3_store(demo: Path) -> Iterator[Store]:
    with running_store(s3_server, demo) as store:
        yield store


@pytest.fixture(scope="session")
def azure_store(demo: Path) -> Iterator[Store]:
    with running_store(azure_server, demo) as store:
        yield store


@pytest.fixture(scope="session")
def gcs_store(demo: Path) -> Iterator[Store]:
    with running_store(gcs_server, demo) as store:
        yield store


@pytest.fixture(params=["s3", "azure", "gcs"])
def any_store(request: pytest.FixtureRequest) -> Store:
    store = request.getfixturevalue(f"{request.param}_store")
    store.proxy.reset()
    return store


@pytest.fixture(params=["s3", "azure"])
def store(request: pytest.FixtureRequest) -> Store:
    """Each store whose client retries quickly. Google's client waits seconds or minutes after each fault."""
    store = request.getfixturevalue(f"{request.param}_store")
    store.proxy.reset()
    return store


@pytest.fixture
def s3(s3_store: Store) -> Store:
    s3_store.proxy.reset()
    return s3_store
