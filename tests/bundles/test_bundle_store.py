"""Bundles at rest in a tenant's sealed file."""

from pathlib import Path

import pytest

from insula.bundles import BundleStore, inspect, pack
from insula.kernel.errors import NotFound
from insula.storage import SealedFile


@pytest.fixture
def packed(tmp_path: Path) -> bytes:
    agent = tmp_path / "agent"
    (agent / "lib").mkdir(parents=True)
    (agent / "agent.toml").write_text('name = "a"\nentrypoint = "python main.py"\n')
    (agent / "main.py").write_text("import lib.marker")
    (agent / "lib" / "marker.py").write_text("PLAIN_TEXT_MARKER = 1")
    return pack(agent)


def space(tmp_path: Path, name: str) -> SealedFile:
    return SealedFile.open(tmp_path / f"{name}.db", name.encode().ljust(32, b"."), name)


def test_what_is_put_is_got(tmp_path: Path, packed: bytes) -> None:
    bundle, store = inspect(packed), BundleStore()
    acme = space(tmp_path, "acme")
    store.put(acme, bundle)
    store.put(acme, bundle)
    assert store.get(acme, bundle.digest) == bundle
    acme.close()
    assert b"PLAIN_TEXT_MARKER" not in (tmp_path / "acme.db").read_bytes()


def test_another_tenants_space_has_nothing_of_it(tmp_path: Path, packed: bytes) -> None:
    bundle, store = inspect(packed), BundleStore()
    acme, globex = space(tmp_path, "acme"), space(tmp_path, "globex")
    store.put(acme, bundle)
    with pytest.raises(NotFound):
        store.get(globex, bundle.digest)
    acme.close()
    globex.close()
