"""Checking the audit: by the running platform, or on the files of a home that nobody runs."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from insula.cli.place import Place
from insula.kernel.errors import NotFound

if TYPE_CHECKING:
    from insula.audit import AuditLog


def verify_streams(place: Place, stream: str | None) -> dict[str, Any]:
    """Return ``{"ok", "streams": [{"stream", "records", "ok", "problem", "at_seq"}]}``."""
    if place.url is not None or place.running() is not None:
        with place.client() as client:
            told: dict[str, Any] = client.get("/audit/verify", stream=stream)
            return told
    return _verify_here(place, stream)


def _verify_here(place: Place, stream: str | None) -> dict[str, Any]:
    with _opened(place.home) as audit:
        reports = [asdict(audit.verify(name)) for name in ([stream] if stream else audit.streams())]
    return {"ok": all(report["ok"] for report in reports), "streams": reports}


@contextmanager
def _opened(home: Path) -> Iterator[AuditLog]:
    """Open the audit of ``home`` and leave the home as it is: the anchors are read from a copy."""
    from insula.audit import AuditLog
    from insula.kernel.clock import SystemClock
    from insula.storage import ControlDatabase, SqlHeads
    from insula.vault import Barrier, open_root_key

    if not (home / "root.key").exists() or not (home / "control.db").exists():
        raise NotFound(f"{home} holds no platform", hint="name its home: --home DIR", field="home")
    with tempfile.TemporaryDirectory(prefix="insula-verify-") as scratch:
        for name in ("control.db", "control.db-wal"):
            if (home / name).exists():
                shutil.copyfile(home / name, Path(scratch) / name)
        control = ControlDatabase(Path(scratch) / "control.db")
        try:
            key = Barrier(open_root_key(home / "root.key")).subkey("audit")
            yield AuditLog(home / "audit", key, SqlHeads(control), SystemClock())
        finally:
            control.close()
