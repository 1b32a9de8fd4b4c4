"""Idempotency keys: a POST that is sent again with its key gets the first answer and does nothing new.

Answers are remembered in memory for a day, under a hash of who asked, where, and the key; so a restart
forgets them. Runs are stronger: their keys are part of their durable record, and this layer leaves them
alone, as it does bundles, which are addressed by content. Only a success is remembered.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections import OrderedDict
from dataclasses import dataclass, field

from fastapi.responses import Response
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from insula.identity import Credentials
from insula.kernel.clock import Clock
from insula.kernel.errors import ConflictError

KEEP_S = 86_400.0
ANSWERS_MAX = 4_096

_KEY = re.compile(r"[\x21-\x7e]{1,200}")
_DURABLE_ELSEWHERE = re.compile(r"/api/v1/tenants/[^/]+/agents(?:/[^/]+/runs)?")


@dataclass(slots=True)
class _Answer:
    """What was asked, and once it is known what was answered. ``body`` may hold a new secret."""

    asked: bytes
    at: float
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    status: int = 0
    body: bytes = field(default=b"", repr=False)


class Replay:
    """ASGI middleware; see the module."""

    def __init__(self, app: ASGIApp, credentials: Credentials, clock: Clock) -> None:
        self._app = app
        self._credentials = credentials
        self._clock = clock
        self._answers: OrderedDict[bytes, _Answer] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        name = _name(scope)
        if name is None:
            await self._app(scope, receive, send)
            return
        body = await _whole(receive)
        asked = hashlib.sha256(body).digest()
        answer = self._remembered(name, asked)
        if answer.asked != asked:
            raise ConflictError(
                "this idempotency key was used for another request",
                hint="use a new key for a new request",
                field="Idempotency-Key",
            )
        async with answer.lock:
            if answer.status:
                self._credentials.resolve(_token(scope))
                await _given_again(answer)(scope, receive, send)
                return
            await self._first(scope, body, send, answer)
            if not answer.status:
                self._answers.pop(name, None)

    def _remembered(self, name: bytes, asked: bytes) -> _Answer:
        now = self._clock.now()
        while self._answers and (
            len(self._answers) >= ANSWERS_MAX or next(iter(self._answers.values())).at < now - KEEP_S
        ):
            self._answers.popitem(last=False)
        return self._answers.setdefault(name, _Answer(asked, now))

    async def _first(self, scope: Scope, body: bytes, send: Send, answer: _Answer) -> None:
        status, parts, sent = 0, list[bytes](), False

        async def again() -> Message:
            nonlocal sent
            if sent:
                return {"type": "http.disconnect"}
            sent = True
            return {"type": "http.request", "body": body, "more_body": False}

        async def heard(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            else:
                parts.append(message.get("body", b""))
            await send(message)

        await self._app(scope, again, heard)
        if 200 <= status < 300:
            answer.status, answer.body = status, b"".join(parts)


def _name(scope: Scope) -> bytes | None:
    """Return under what to remember the answer; ``None`` for a request that this layer leaves alone."""
    if scope["type"] != "http" or scope["method"] != "POST" or _DURABLE_ELSEWHERE.fullmatch(scope["path"]):
        return None
    key = Headers(scope=scope).get("idempotency-key", "")
    if not _KEY.fullmatch(key):
        return None
    parts = (_token(scope).encode(), scope["path"].encode(), scope["query_string"], key.encode())
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).digest()


def _token(scope: Scope) -> str:
    return Headers(scope=scope).get("authorization", "").partition(" ")[2].strip()


async def _whole(receive: Receive) -> bytes:
    """Return the body; its size is bounded by the layer outside this one."""
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if message["type"] != "http.request" or not message.get("more_body", False):
            return b"".join(parts)


def _given_again(answer: _Answer) -> Response:
    headers = {"idempotent-replayed": "true"}
    return Response(answer.body, answer.status, headers=headers, media_type="application/json")
