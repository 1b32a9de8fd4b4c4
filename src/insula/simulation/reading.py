"""Request traces, as they are published: who asked when, with how many tokens in and out."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from insula.kernel.errors import InvalidRequest, NotFound

MOST_TOKENS = 10_000_000
MOST_ROWS = 1_000_000
BLOCK = 512
"""Tokens in one of Mooncake's prefix blocks."""


@dataclass(frozen=True, slots=True)
class Request:
    """One line of a trace. ``client`` is ``None`` where the trace does not tell."""

    at_us: int
    prompt: int
    output: int
    cached: int = 0
    client: str | None = None


def read(path: Path) -> list[Request]:
    """Read a trace file, gzipped or not, in time order, starting at 0.

    The columns tell the format: ``timestamp_s,client_id,input_tokens,output_tokens`` (a client column),
    ``TIMESTAMP,ContextTokens,GeneratedTokens`` (Azure), ``timestamp_ms,input_length,output_length,
    cached_tokens``, or one JSON object a line (Mooncake). Raises ``NotFound`` and ``InvalidRequest``, which
    names the line, what is wrong and what should stand there.
    """
    text = _text(path)
    rows = _jsonl(path, text) if text.lstrip()[:1] == "{" else _csv(path, text)
    requests = sorted(rows, key=lambda request: request.at_us)
    if not requests:
        raise _wrong(path, 1, "the trace has no requests", "give a file with a header and at least one row")
    first = requests[0].at_us
    return [Request(r.at_us - first, r.prompt, r.output, r.cached, r.client) for r in requests]


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise NotFound(
            f"cannot read {path}: {error.strerror}",
            hint="give a file, or one of arena, azure, mooncake, servegen, agents",
            field="--trace",
        ) from None
    try:
        return (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode("utf-8-sig")
    except (UnicodeDecodeError, OSError, EOFError) as error:
        raise _wrong(
            path, 1, f"this is not a text file ({error})", "give a .csv or .jsonl, plain or gzipped"
        ) from None


def _csv(path: Path, text: str) -> Iterator[Request]:
    rows = csv.reader(io.StringIO(text))
    header = [name.strip() for name in next(rows, [])]
    shape = next((shape for shape in _SHAPES if set(shape[1]) <= set(header)), None)
    if shape is None:
        known = " or ".join(",".join(columns) for _, columns in _SHAPES)
        raise _wrong(
            path,
            1,
            f"the columns are {','.join(header)[:80] or 'missing'}",
            f"the first line must name {known}",
        )
    make, columns = shape
    places = [header.index(name) for name in columns]
    for number, row in enumerate(rows, start=2):
        if not row:
            continue
        if len(row) < len(header):
            raise _wrong(
                path, number, f"{len(row)} cells, the header has {len(header)}", "complete or delete the line"
            )
        _bounded(path, number)
        yield _checked(path, number, make, [row[place].strip() for place in places], columns)


def _jsonl(path: Path, text: str) -> Iterator[Request]:
    seen: set[int] = set()
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            cells = [str(row[name]) for name in ("timestamp", "input_length", "output_length")]
            blocks = [int(block) for block in row.get("hash_ids", ())]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            fix = 'each line is like {"timestamp": 0, "input_length": 10, "output_length": 5}'
            raise _wrong(path, number, f"not a request ({type(error).__name__}: {error})", fix) from None
        _bounded(path, number)
        request = _checked(path, number, _milliseconds, [*cells, "0"], _MILLISECONDS)
        yield _reused(request, blocks, seen)


def _reused(request: Request, blocks: list[int], seen: set[int]) -> Request:
    """Count the leading blocks that came before as read from a cache that never forgets."""
    known = 0
    for block in blocks:
        if block not in seen:
            break
        known += 1
    seen.update(blocks)
    return Request(request.at_us, request.prompt, request.output, min(request.prompt, known * BLOCK))


def _client(cells: list[str]) -> Request:
    at, client, prompt, output = cells
    if not client:
        raise ValueError("no client")
    return Request(round(float(at) * 1_000_000), int(prompt), int(output), 0, client)


def _azure(cells: list[str]) -> Request:
    at, prompt, output = cells
    whole, _, part = at.partition(".")
    moment = datetime.fromisoformat(f"{whole}+00:00")
    return Request(
        int(moment.timestamp()) * 1_000_000 + int(part[:6].ljust(6, "0")), int(prompt), int(output)
    )


def _milliseconds(cells: list[str]) -> Request:
    at, prompt, output, cached = cells
    return Request(round(float(at) * 1000), int(prompt), int(output), int(cached))


_MILLISECONDS = ("timestamp_ms", "input_length", "output_length", "cached_tokens")
_SHAPES = (
    (_client, ("timestamp_s", "client_id", "input_tokens", "output_tokens")),
    (_azure, ("TIMESTAMP", "ContextTokens", "GeneratedTokens")),
    (_milliseconds, _MILLISECONDS),
)


def _checked(path: Path, number: int, make: object, cells: list[str], columns: Iterable[str]) -> Request:
    """Return the request of a line, or say what is wrong with it."""
    told = ", ".join(f"{name}={cell[:30]!r}" for name, cell in zip(columns, cells, strict=True))
    try:
        request: Request = make(cells)  # type: ignore[operator]
    except (ValueError, OverflowError) as error:
        raise _wrong(
            path, number, f"{told}: {error}", "times and token counts must be plain numbers"
        ) from None
    if not 0 <= request.cached <= request.prompt <= MOST_TOKENS or not 0 <= request.output <= MOST_TOKENS:
        fix = f"token counts are whole numbers from 0 to {MOST_TOKENS}, cached at most input"
        raise _wrong(path, number, f"{told} is out of range", fix)
    if not -(2**62) < request.at_us < 2**62:
        raise _wrong(path, number, f"{told} is out of range", "give times within the trace")
    return request


def _bounded(path: Path, number: int) -> None:
    if number > MOST_ROWS:
        raise _wrong(path, number, f"more than {MOST_ROWS} lines", "cut the trace into parts")


def _wrong(path: Path, line: int, problem: str, fix: str) -> InvalidRequest:
    return InvalidRequest(f"{path}, line {line}: {problem}", hint=fix, field="--trace", line=line)
