"""The world of these tests, as fixtures."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from insula.runs.adapters import durable


def _world_module() -> Any:
    """Import ``world.py`` beside this file: test folders are no packages."""
    spec = importlib.util.spec_from_file_location("runs_world", Path(__file__).with_name("world.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["runs_world"] = module
    spec.loader.exec_module(module)
    return module


_world = _world_module()


@pytest.fixture(autouse=True, scope="session")
def _template(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("durable") / "durable.db"

    async def make() -> None:
        async def nothing(_tenant: Any, _run: Any) -> str:
            return ""

        engine = durable.Durable(path, nothing)
        await engine.start()
        await engine.stop()

    asyncio.run(make())
    _world.TEMPLATE = path


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library's listener is waited for when it stops."""
    monkeypatch.setattr(durable, "LISTEN_S", 0.05)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Any]:
    made = _world.make(tmp_path)
    yield made
    made.ground.close()


@pytest.fixture
def live(world: Any) -> Callable[[], Any]:
    """``async with live() as service``: the world's service, started, and stopped in the end."""

    @contextlib.asynccontextmanager
    async def started() -> AsyncIterator[Any]:
        await world.service.start()
        try:
            yield world.service
        finally:
            await world.service.stop()

    return started
