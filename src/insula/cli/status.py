"""One live line at the foot of the terminal, under the output that scrolls above it."""

from __future__ import annotations

import shutil
import sys
import threading
import time
from types import TracebackType
from typing import Self

from insula.cli.harmless import harmless

FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_CLEAR = "\r\x1b[2K"
_TICK_S = 0.1


class StatusLine:
    """Shows a line on stderr while output goes to stdout; draws nothing when stderr is no terminal.

    The line is drawn only where the output has ended a line, so neither ever cuts the other.
    """

    def __init__(self) -> None:
        self._text = ""
        self._began = time.monotonic()
        self._drawn = False
        self._line_open = False
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._live = sys.stderr.isatty()
        self._thread = threading.Thread(target=self._tick, daemon=True)

    def __enter__(self) -> Self:
        if self._live:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        if self._live:
            self._thread.join()
        with self._lock:
            self._clear()
            if self._line_open and sys.stdout.isatty():
                sys.stdout.write("\n")
            sys.stdout.flush()

    def show(self, text: str) -> None:
        """Show ``text`` from now on."""
        with self._lock:
            self._text = text
            self._draw(0)

    def write(self, text: str, *, stderr: bool = False) -> None:
        """Pass on a piece of output; as it is to a pipe, without control characters to a terminal."""
        stream = sys.stderr if stderr else sys.stdout
        shown = harmless(text) if stream.isatty() else text
        with self._lock:
            self._clear()
            stream.write(shown)
            stream.flush()
            if stream.isatty():
                self._line_open = not text.endswith("\n")

    def _tick(self) -> None:
        frame = 0
        while not self._ended.wait(_TICK_S):
            frame += 1
            with self._lock:
                self._draw(frame)

    def _draw(self, frame: int) -> None:
        if not self._live or self._line_open or not self._text:
            return
        line = f"{FRAMES[frame % len(FRAMES)]} {self._text} · {time.monotonic() - self._began:.1f} s"
        width = shutil.get_terminal_size().columns - 1
        sys.stderr.write(f"{_CLEAR}\x1b[2m{line[:width]}\x1b[0m")
        sys.stderr.flush()
        self._drawn = True

    def _clear(self) -> None:
        if self._drawn:
            sys.stderr.write(_CLEAR)
            sys.stderr.flush()
            self._drawn = False
