"""One bare runtime for all tests of the room."""

from pathlib import Path

import pytest

from insula.runtimes import Runtime, RuntimeStore


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> RuntimeStore:
    return RuntimeStore(tmp_path_factory.mktemp("home") / "runtimes", cache)


@pytest.fixture(scope="session")
def bare(store: RuntimeStore) -> Runtime:
    return store.build("python")
