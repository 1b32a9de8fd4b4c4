"""A thin client of the control plane: paths in, decoded JSON out, problems raised as typed errors."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import httpx2

from insula.cli.place import START
from insula.kernel.errors import InsulaError, PlatformNotRunning

PREFIX = "/api/v1"
PAGE_ITEMS = 200


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a run: its number, its kind, its data."""

    seq: int
    kind: str
    data: dict[str, Any]


class Client:
    """Calls one platform as one principal. Use it as a context manager."""

    def __init__(self, url: str, token: str, *, remote: bool = False) -> None:
        self._url = url.rstrip("/")
        self._remote = remote
        with self._reachable():
            self._http = httpx2.Client(
                base_url=self._url,
                headers={"authorization": f"Bearer {token}", "user-agent": "insula-cli"},
                timeout=httpx2.Timeout(60.0, connect=5.0),
                trust_env=remote,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def get(self, path: str, **query: Any) -> Any:
        """Return the JSON at ``path``; query values of ``None`` are left out."""
        return self._call("GET", path, params=_given(query))

    def slow_get(self, path: str, **query: Any) -> Any:
        """Ask for something that takes minutes, such as a check of all books."""
        return self._call("GET", path, params=_given(query), timeout=1800.0)

    def post(self, path: str, body: Any = None, *, key: str | None = None, **query: Any) -> Any:
        """Create or act; ``key`` makes a repeat of this very call harmless."""
        headers = {"idempotency-key": key} if key else {}
        return self._call("POST", path, json=body, params=_given(query), headers=headers)

    def put(self, path: str, body: Any) -> Any:
        """Set what is at ``path``."""
        return self._call("PUT", path, json=body)

    def patch(self, path: str, body: Any) -> Any:
        """Change parts of what is at ``path``."""
        return self._call("PATCH", path, json=body)

    def delete(self, path: str) -> Any:
        """Remove what is at ``path``; returns what the platform says about it."""
        return self._call("DELETE", path)

    def upload(self, path: str, content: bytes, media_type: str) -> Any:
        """Post bytes, and give the platform up to ten minutes to take them in."""
        return self._call("POST", path, content=content, headers={"content-type": media_type}, timeout=600.0)

    def slow_post(self, path: str, body: Any) -> Any:
        """Post something that takes minutes, such as the build of a runtime."""
        return self._call("POST", path, json=body, timeout=1800.0)

    def items(self, path: str, **query: Any) -> Iterator[Any]:
        """Yield every item of a list, page after page."""
        cursor: str | None = None
        while True:
            page = self.get(path, cursor=cursor, limit=PAGE_ITEMS, **query)
            yield from page["items"]
            cursor = page["next"]
            if cursor is None:
                return

    def download(self, path: str) -> bytes:
        """Return the bytes at ``path``."""
        return bytes(self._send("GET", path).content)

    def events(self, path: str, after: int = 0) -> Iterator[Event]:
        """Yield the events of a run as they happen, from the one behind ``after`` to the last."""
        headers = {"last-event-id": str(after)} if after else {}
        with self._reachable(), self._http.stream("GET", PREFIX + path, headers=headers, timeout=60) as got:
            if got.status_code >= 400:
                got.read()
                raise error_of(got.status_code, got.content)
            yield from parse_events(got.iter_lines())

    def _call(self, method: str, path: str, **options: Any) -> Any:
        got = self._send(method, path, **options)
        return json.loads(got.content) if got.content else None

    def _send(self, method: str, path: str, **options: Any) -> httpx2.Response:
        with self._reachable():
            got = self._http.request(method, PREFIX + path, **options)
        if got.status_code >= 400:
            raise error_of(got.status_code, got.content)
        return got

    @contextmanager
    def _reachable(self) -> Iterator[None]:
        try:
            yield
        except httpx2.TimeoutException:
            raise PlatformNotRunning(
                f"the platform at {self._url} did not answer in time", hint="look at its log, or try again"
            ) from None
        except httpx2.InvalidURL as error:
            raise PlatformNotRunning(
                f"{self._url} is not a URL: {error}", hint="give http://HOST:PORT"
            ) from None
        except httpx2.TransportError as error:
            hint = "check --url, and that the platform is up" if self._remote else START
            raise PlatformNotRunning(
                f"no platform answers at {self._url} ({type(error).__name__})", hint=hint
            ) from None


def parse_events(lines: Iterator[str]) -> Iterator[Event]:
    """Yield the events of a server-sent stream; comments and unknown fields are skipped."""
    fields: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(":")
            if name:
                fields[name] = value.removeprefix(" ")
        elif "data" in fields:
            yield Event(int(fields.get("id", 0)), fields.get("event", "message"), json.loads(fields["data"]))
            fields = {}


def error_of(status: int, body: bytes) -> InsulaError:
    """Return the typed error that a problem document tells of; any other body becomes a plain one."""
    try:
        told = json.loads(body)
        code, message = str(told["code"]), str(told["detail"])
    except (ValueError, KeyError, TypeError):
        return PlatformNotRunning(
            f"the answer ({status}) is not from a platform", hint="check the address after --url"
        )
    kind = _kinds().get(code, InsulaError)
    details = told.get("details") or {}
    return kind(
        message,
        hint=str(told.get("hint", "")),
        field=told.get("field"),
        retry_after_s=told.get("retry_after_s"),
        request_id=told.get("request_id"),
        **{name: value for name, value in details.items() if name not in _TAKEN},
    )


_TAKEN = frozenset({"message", "hint", "field", "retry_after_s", "request_id"})


def _kinds() -> dict[str, type[InsulaError]]:
    """Return the class of each error code: the narrowest, when a base shares the code."""
    found: dict[str, type[InsulaError]] = {}
    waiting: list[type[InsulaError]] = [InsulaError]
    while waiting:
        kind = waiting.pop(0)
        found[kind.code] = kind
        waiting += kind.__subclasses__()
    return found


def _given(query: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in query.items() if value is not None}
