"""Every example is a bundle that deploys, and its program runs below pid 1 against a stand-in model."""

import http.server
import json
import os
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from insula.bundles import inspect, pack
from insula.runtimes import SHIPPED, compile_pid1

EXAMPLES = Path(__file__).parents[2] / "examples"
AGENTS = sorted(path.parent.name for path in EXAMPLES.glob("*/agent.toml"))


@pytest.mark.parametrize("name", AGENTS)
def test_an_example_deploys(name: str) -> None:
    bundle = inspect(pack(EXAMPLES / name))
    assert bundle.manifest.runtime in SHIPPED


def test_hello(tmp_path: Path) -> None:
    inside = {**os.environ, "INSULA_RESULT": f"{tmp_path}/result.json", "INSULA_ARTIFACTS": f"{tmp_path}/out"}
    main = EXAMPLES / "hello" / "main.py"
    done = subprocess.run([sys.executable, main], input=b"world", env=inside, capture_output=True, check=True)
    assert done.stdout == b"hello world\n"
    assert json.loads((tmp_path / "result.json").read_text()) == {"greeted": "world"}
    assert (tmp_path / "out" / "greeting.txt").read_text() == "hello world\n"


class Model(http.server.BaseHTTPRequestHandler):
    """Completes every text with the same words."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        usage = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
        head = {"id": "c", "object": "text_completion", "created": 0, "model": asked["model"]}
        words = [{"text": " Paris", "index": 0, "finish_reason": None, "logprobs": None}]
        if asked.get("stream"):
            parts: list[dict[str, Any]] = [head | {"choices": words}, head | {"choices": [], "usage": usage}]
            body = "".join(f"data: {json.dumps(part)}\n\n" for part in parts) + "data: [DONE]\n\n"
            self._answer("text/event-stream", body.encode())
        else:
            self._answer("application/json", json.dumps(head | {"choices": words, "usage": usage}).encode())

    def _answer(self, kind: str, body: bytes) -> None:
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass

    def address_string(self) -> str:
        return "door"


class DoorServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = 16


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Path]:
    with DoorServer(str(tmp_path / "door.sock"), Model) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield tmp_path / "door.sock"
        server.shutdown()


def test_chat_with_the_unmodified_sdk_through_the_relay(door: Path, tmp_path: Path) -> None:
    inside = {
        "PATH": os.environ["PATH"],
        "INSULA_DOOR": str(door),
        "INSULA_PORT": "0",
        "INSULA_RESULT": f"{tmp_path}/result.json",
        "OPENAI_BASE_URL": "http://127.0.0.1:0/v1",
        "OPENAI_API_KEY": "insula",
    }
    pid1 = compile_pid1(tmp_path / "pid1") / "__main__.pyc"
    argv = [sys.executable, str(pid1), "--", "python", "main.py"]
    done = subprocess.run(argv, cwd=EXAMPLES / "chat", env=inside, capture_output=True, timeout=60, input=b"")
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout == b"The capital of France is Paris\n"
    told = json.loads((tmp_path / "result.json").read_text())
    assert told == {"streamed": {"prompt_tokens": 5, "completion_tokens": 2}, "whole": " Paris"}
