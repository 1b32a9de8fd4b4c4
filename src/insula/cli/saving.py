"""Artifacts onto this machine: inside the chosen directory, never outside it, never over a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from insula.cli.paths import path
from insula.kernel.errors import InvalidRequest

if TYPE_CHECKING:
    from insula.cli.client import Client


def save_artifacts(client: Client, run: str, found: Sequence[dict[str, Any]], into: Path) -> list[str]:
    """Download ``found`` into ``into``; return the paths written. Raises ``InvalidRequest``."""
    written = []
    into.mkdir(parents=True, exist_ok=True)
    for artifact in found:
        target = place_within(into, artifact["name"])
        target.parent.mkdir(parents=True, exist_ok=True)
        content = client.download(path("runs", run, "artifacts", artifact["name"]))
        try:
            with target.open("xb") as file:
                file.write(content)
        except FileExistsError:
            raise InvalidRequest(
                f"{target} is already there", hint="save into an empty directory", field="save"
            ) from None
        written.append(str(target))
    return written


def place_within(directory: Path, name: str) -> Path:
    """Return where ``name`` goes under ``directory``. Raises ``InvalidRequest`` if that is elsewhere.

    An agent chose the name, so links that are already under ``directory`` are followed before judging.
    """
    root = directory.resolve()
    path = (root / name).resolve()
    if path == root or not path.is_relative_to(root) or any(not char.isprintable() for char in name):
        raise InvalidRequest(f"the artifact name {name!r} leads out of {directory}", field="name")
    return path
