"""Checking the audit: by the running platform, or on the files of a home that nobody runs."""

from __future__ import annotations

from typing import Any

from insula.cli.place import Place


def verify_streams(place: Place, stream: str | None) -> dict[str, Any]:
    """Return ``{"ok", "streams": [{"stream", "records", "ok", "problem", "at_seq"}]}``."""
    if place.url is not None or place.running() is not None:
        with place.client() as client:
            told: dict[str, Any] = client.get("/audit/verify", stream=stream)
            return told
    return _verify_here(place, stream)


def _verify_here(place: Place, stream: str | None) -> dict[str, Any]:
    from dataclasses import asdict

    from insula.wiring import open_audit

    audit = open_audit(place.home)
    reports = [asdict(audit.verify(name)) for name in ([stream] if stream else audit.streams())]
    return {"ok": all(report["ok"] for report in reports), "streams": reports}
