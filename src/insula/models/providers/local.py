"""The local model: a child process that serves it on loopback, watched and restarted."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from insula.kernel.entropy import token_text
from insula.kernel.errors import Misconfigured
from insula.models.endpoint import Endpoint, Kind, Model
from insula.models.providers.weights import MODEL, weights

_log = structlog.get_logger()
_CHILD = Path(__file__).with_name("local_child.py")
_START_S = 120.0
_LONGEST_PAUSE_S = 30.0

Attach = Callable[[Endpoint, str], None]
Detach = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class LocalShape:
    """How much of the machine the local model may take. Every slot streams one answer at a time."""

    slots: int = 4
    context_tokens: int = 2048
    max_output: int = 512
    threads: int = 2


class LocalModel:
    """Keeps the child running. ``attach(endpoint, key)`` and ``detach(name)`` tell where it is."""

    name = "local"

    def __init__(
        self, directory: Path, attach: Attach, detach: Detach, shape: LocalShape | None = None
    ) -> None:
        self._directory = directory
        self._attach = attach
        self._detach = detach
        self._shape = shape or LocalShape(threads=max(1, min(4, os.cpu_count() or 1)))
        self._process: asyncio.subprocess.Process | None = None
        self._watch: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """The child's process id, or ``None``."""
        return self._process.pid if self._process is not None else None

    async def start(self) -> Endpoint:
        """Start the child and return its endpoint once it answers. Raises ``Misconfigured``."""
        endpoint = await self._launch()
        self._watch = asyncio.create_task(self._keep_running())
        return endpoint

    async def stop(self) -> None:
        """End the child."""
        if self._watch is not None:
            self._watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watch
        await self._end()

    async def _launch(self) -> Endpoint:
        path = await asyncio.to_thread(weights, self._directory)
        key = token_text()
        address = await self._spawn(path, key)
        model = Model(MODEL, self._shape.context_tokens, self._shape.max_output)
        endpoint = Endpoint(self.name, Kind.LOCAL, f"{address}/v1", (model,))
        self._attach(endpoint, key)
        _log.info("models.local_started", pid=self.pid, model=MODEL)
        return endpoint

    async def _spawn(self, path: Path, key: str) -> str:
        # Forked from the event loop's own thread: the death signal follows the thread that forked.
        with (self._directory / "local.log").open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-I", str(_CHILD),
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=log,
                env={"PATH": os.defpath, "LANG": "C.UTF-8"}, cwd="/", start_new_session=True,
            )  # fmt: skip
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(self._config(path, key)).encode() + b"\n")
        try:
            line = await asyncio.wait_for(self._process.stdout.readline(), _START_S)
            return str(json.loads(line)["address"])
        except (TimeoutError, ValueError, KeyError, TypeError):
            await self._end()
            raise Misconfigured(
                "the local model did not start",
                hint=f"see {self._directory / 'local.log'}; pip install 'insula[local-model]' reinstalls it",
                field="local_model",
            ) from None

    def _config(self, path: Path, key: str) -> dict[str, object]:
        return {
            "weights": str(path.resolve()),
            "model": MODEL,
            "key": key,
            "parent": os.getpid(),
            "slots": self._shape.slots,
            "context_tokens": self._shape.context_tokens,
            "threads": self._shape.threads,
        }

    async def _keep_running(self) -> None:
        pause = 1.0
        while self._process is not None:
            code = await self._process.wait()
            self._detach(self.name)
            _log.warning("models.local_died", code=code)
            self._process = None
            while self._process is None:
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE_S)
                with contextlib.suppress(Misconfigured):
                    await self._launch()

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        await process.wait()
        self._detach(self.name)
