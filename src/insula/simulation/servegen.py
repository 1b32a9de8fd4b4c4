"""ServeGen's clients: how real clients of one service arrive and what lengths they send, without any text.

A client is, for every ten minutes of a day, a rate and a burstiness (the coefficient of variation of the
time between its requests), and the distribution of its lengths. Source: Xiang et al., "ServeGen", 2025. The
copy that comes with the program has each distribution reduced to its quantiles; the original archive is
read by the same code that made the copy.
"""

from __future__ import annotations

import ast
import gzip
import json
import random
import re
import tarfile
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from insula.kernel.errors import InvalidRequest
from insula.simulation.work import SECOND_US

WINDOW_S = 600
FRACTIONS = (*(n / 20 for n in range(20)), 0.98, 0.99, 0.995, 0.999, 1.0)
"""Where distributions are cut; closer together at the long end, where the tokens are."""

_CHUNK = re.compile(r"chunk-(\d+)-(trace\.csv|dataset\.json)$")


@dataclass(frozen=True, slots=True)
class Client:
    """``rates`` in requests a second and ``bursts`` (coefficients of variation), one for each window.

    ``prompts`` and ``outputs`` are the quantiles at ``FRACTIONS``.
    """

    name: str
    rates: tuple[float, ...]
    bursts: tuple[float, ...]
    prompts: tuple[int, ...]
    outputs: tuple[int, ...]

    def lengths(self, rng: random.Random) -> tuple[int, int]:
        """Draw input and output tokens."""
        return draw(self.prompts, rng), draw(self.outputs, rng)

    def busy(self) -> list[int]:
        """Return the windows in which requests come."""
        return [window for window, rate in enumerate(self.rates) if rate > 0]

    def mean_rate(self, start_s: int, seconds: float) -> float:
        """Return the mean of the rates in the windows from ``start_s`` on."""
        first, count = start_s // WINDOW_S, max(1, round(seconds / WINDOW_S))
        return sum(self.rates[(first + n) % len(self.rates)] for n in range(count)) / count

    def arrivals(self, rng: random.Random, scale: float, until_us: int, start_s: int) -> Iterator[int]:
        """Yield the microseconds at which requests come, at ``scale`` times the client's rate.

        The time between two is drawn from the gamma distribution of the window's rate and burstiness, the
        rest of it carried into the next window in proportion. The first is what is left of such a time at a
        random moment, else a bursty client would always begin with a burst. ``start_s``: time of day at 0.
        """
        shape = self._shape(start_s // WINDOW_S)
        owed = rng.gammavariate(shape + 1, 1 / shape) * rng.random()
        at_s, end_s = 0.0, until_us / SECOND_US
        while at_s < end_s:
            window = int((at_s + start_s) // WINDOW_S) % len(self.rates)
            rate = self.rates[window] * scale
            left_s = WINDOW_S - (at_s + start_s) % WINDOW_S or WINDOW_S
            if owed >= rate * left_s:
                owed -= rate * left_s
                at_s += left_s
                continue
            at_s += owed / rate
            if at_s < end_s:
                yield int(at_s * SECOND_US)
            shape = self._shape(window)
            owed = rng.gammavariate(shape, 1 / shape)

    def _shape(self, window: int) -> float:
        """Return the shape of the gamma distribution with the window's coefficient of variation."""
        return 1 / max(self.bursts[window % len(self.bursts)], 0.05) ** 2


def draw(quantiles: Sequence[int], rng: random.Random) -> int:
    """Draw from a distribution given by its quantiles, evenly between two of them; at least 1."""
    drawn = rng.random()
    above = bisect_right(FRACTIONS, drawn)
    low, high = FRACTIONS[above - 1], FRACTIONS[above]
    step = quantiles[above] - quantiles[above - 1]
    return max(1, round(quantiles[above - 1] + (drawn - low) / (high - low) * step))


def load(path: Path) -> list[Client]:
    """Read clients from the reduced copy (``.json.gz``) or the original archive (``.tar.gz``).

    Raises ``InvalidRequest`` when it is neither.
    """
    try:
        if tarfile.is_tarfile(path):
            return condense(path)
        rows = json.loads(gzip.decompress(path.read_bytes()))["clients"]
        return [_client(row) for row in rows]
    except (
        OSError,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        SyntaxError,
        EOFError,
        tarfile.TarError,
    ) as error:
        raise InvalidRequest(
            f"{path} holds no ServeGen clients: {error}",
            hint="give the archive of one model's chunk-N-trace.csv and chunk-N-dataset.json files",
            field="--trace",
        ) from None


def condense(archive: Path) -> list[Client]:
    """Reduce an original archive to clients. Members are read, never unpacked to disk."""
    parts: dict[int, dict[str, str]] = {}
    with tarfile.open(archive) as tar:
        for member in tar:
            found = _CHUNK.search(member.name)
            data = tar.extractfile(member) if found else None
            if found and data is not None:
                parts.setdefault(int(found[1]), {})[found[2]] = data.read().decode()
    if not parts:
        raise ValueError("no chunk files in the archive")
    made = [_condensed(number, part) for number, part in sorted(parts.items())]
    clients = [client for client in made if client is not None]
    if not clients:
        raise ValueError("no client in it sends anything")
    return clients


def _condensed(number: int, part: dict[str, str]) -> Client | None:
    rows = [line.split(",") for line in part["trace.csv"].split()]
    rates = tuple(round(float(row[1]), 4) for row in rows)
    bursts = tuple(round(float(row[2] or 0), 3) for row in rows)
    sections = json.loads(part["dataset.json"]).values()
    prompts = [ast.literal_eval(section["input_tokens"]) for section in sections]
    outputs = [ast.literal_eval(section["output_tokens"]) for section in sections]
    if not any(rates) or not any(prompts) or not any(outputs):
        return None
    return Client(f"client-{number}", rates, bursts, _quantiles(prompts), _quantiles(outputs))


def _quantiles(parts: list[dict[int, float]]) -> tuple[int, ...]:
    merged: dict[int, float] = {}
    for part in parts:
        for length, share in part.items():
            merged[int(length)] = merged.get(int(length), 0.0) + share
    total, reached = sum(merged.values()), 0.0
    found: list[int] = []
    for length, share in sorted(merged.items()):
        reached += share
        while len(found) < len(FRACTIONS) and reached >= total * FRACTIONS[len(found)] - 1e-9:
            found.append(length)
    return tuple(found + [max(merged)] * (len(FRACTIONS) - len(found)))


def _client(row: dict[str, Any]) -> Client:
    return Client(row["name"], *(tuple(row[name]) for name in ("rates", "bursts", "prompts", "outputs")))
