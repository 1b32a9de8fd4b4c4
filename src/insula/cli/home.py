"""The home of a platform that is about to run: private, writable, and nobody else's."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from insula.kernel.errors import Misconfigured

LOCK = "lock"


@contextmanager
def claimed(home: Path) -> Iterator[None]:
    """Hold ``home`` for this process. Raises ``Misconfigured`` when it can't be, saying why."""
    _make(home)
    lock = os.open(home / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Misconfigured(
                f"another platform runs in {home}",
                hint="stop it, or choose another home: insula up --home DIR",
                field="home",
            ) from None
        yield
    finally:
        os.close(lock)


def _make(home: Path) -> None:
    """Create ``home`` or close it to others, and see that files can be written in it."""
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        owner = home.stat().st_uid
        if owner == os.geteuid():
            home.chmod(0o700)
        probe = home / f".probe-{os.getpid()}"
        probe.touch(mode=0o600)
        probe.unlink()
    except OSError as error:
        raise Misconfigured(
            f"the home {home} can't be used: {(error.strerror or str(error)).lower()}",
            hint="give a directory that this user can write: --home DIR, or INSULA_HOME",
            field="home",
        ) from None
    if owner != os.geteuid():
        raise Misconfigured(
            f"the home {home} belongs to another user",
            hint="run as that user, or choose another home with --home",
            field="home",
        )


def write_private(path: Path, text: str) -> None:
    """Write a small file that only this user reads; it is whole or not there."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    fresh.replace(path)


@contextmanager
def announced(home: Path, about: dict[str, Any]) -> Iterator[None]:
    """Let other commands find the platform of ``home`` while it runs."""
    path = home / "platform.json"
    write_private(path, json.dumps(about))
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
