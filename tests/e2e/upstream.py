"""An OpenAI-compatible server on loopback that says what it was asked: the far end of end-to-end tests.

It is a real HTTP server with real streaming; only the words are made up. It records the headers it
was sent, so that a test can prove what never left the platform.
"""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Upstream:
    """A server at ``base_url`` with 20 prompt tokens a call and one completion token a word."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.cancelled = threading.Event()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.server.daemon_threads = True
        self.base_url = f"http://127.0.0.1:{self.server.server_port}/v1"
        self._thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        upstream = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                pass

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                upstream.requests.append({"path": self.path, "headers": dict(self.headers), "body": body})
                words = _words(body)
                usage = {
                    "prompt_tokens": 20,
                    "completion_tokens": len(words),
                    "total_tokens": 20 + len(words),
                }
                if body.get("stream"):
                    self._stream(body, words, usage)
                else:
                    self._whole(body, words, usage)

            def _whole(self, body: dict[str, Any], words: list[str], usage: dict[str, int]) -> None:
                answer = {
                    "id": "c1",
                    "object": "chat.completion",
                    "created": 1,
                    "model": body["model"],
                    "choices": [
                        {
                            "index": 0,
                            "finish_reason": "stop",
                            "message": {"role": "assistant", "content": " ".join(words)},
                        }
                    ],
                    "usage": usage,
                }
                payload = json.dumps(answer).encode()
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(payload)))
                self.end_headers()
                self.wfile.write(payload)

            def _stream(self, body: dict[str, Any], words: list[str], usage: dict[str, int]) -> None:
                self.send_response(200)
                self.send_header("content-type", "text/event-stream")
                self.send_header("transfer-encoding", "chunked")
                self.end_headers()
                base = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": body["model"]}
                try:
                    for word in words:
                        self._event({**base, "choices": [{"index": 0, "delta": {"content": word + " "}}]})
                        if "slowly" in words:
                            time.sleep(0.05)
                    self._event({**base, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
                    if (body.get("stream_options") or {}).get("include_usage"):
                        self._event({**base, "choices": [], "usage": usage})
                    self._chunk(b"data: [DONE]\n\n")
                    self._chunk(b"")
                except (BrokenPipeError, ConnectionResetError):
                    upstream.cancelled.set()
                    self.close_connection = True

            def _event(self, event: dict[str, Any]) -> None:
                self._chunk(b"data: " + json.dumps(event).encode() + b"\n\n")

            def _chunk(self, data: bytes) -> None:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
                self.wfile.flush()

        return Handler


def _words(body: dict[str, Any]) -> list[str]:
    """Return the last message's words, as many as ``max_tokens`` admits."""
    said = body["messages"][-1]["content"].split()
    times = 200 if "slowly" in said else 1
    limit = body.get("max_tokens") or body.get("max_completion_tokens") or 10_000
    return (said * times)[:limit]
