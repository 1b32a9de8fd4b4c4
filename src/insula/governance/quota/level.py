"""A level holds one bucket per limit; a path is the levels that one scope passes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal

from insula.governance.quota.bucket import Bucket
from insula.governance.quota.limits import Limits

Measure = Literal["rpm", "tpm", "in_flight"]
MEASURES: Final[tuple[Measure, ...]] = ("rpm", "tpm", "in_flight")


class Level:
    """The limits of the platform, of one tenant or of one agent, and how much of each is taken."""

    __slots__ = ("buckets", "key", "limits", "name")

    def __init__(self, name: str, key: str, limits: Limits, now_us: int) -> None:
        self.name = name
        self.key = key
        self.limits = limits
        self.buckets: dict[Measure, Bucket] = {}
        self.apply(limits, now_us)

    def apply(self, limits: Limits, now_us: int) -> list[tuple[Measure, Bucket]]:
        """Change the limits; return the buckets that did not exist before.

        A limit that stays keeps its bucket, with what was used; one that goes loses it.
        """
        self.limits = limits
        added: list[tuple[Measure, Bucket]] = []
        for measure, shape in zip(MEASURES, _shapes(limits), strict=True):
            if shape is None:
                self.buckets.pop(measure, None)
            elif measure in self.buckets:
                self.buckets[measure].resize(*shape, now_us)
            else:
                self.buckets[measure] = Bucket(*shape, now_us)
                added.append((measure, self.buckets[measure]))
        return added

    def idle(self, now_us: int) -> bool:
        """Whether forgetting this level would change no decision."""
        return all(bucket.idle(now_us) for bucket in self.buckets.values())


class Path:
    """The levels of one scope, outermost first, and their buckets by measure."""

    __slots__ = ("levels", "mean_hold_us", "requests", "slots", "tokens")

    def __init__(self, levels: tuple[Level, ...]) -> None:
        self.levels = levels
        self.mean_hold_us = 1_000_000
        self.rebuild()

    def rebuild(self) -> None:
        """Collect the buckets again after a level's limits changed."""
        self.requests = self._collect("rpm")
        self.tokens = self._collect("tpm")
        self.slots = self._collect("in_flight")

    def _collect(self, measure: Measure) -> tuple[Bucket, ...]:
        return tuple(level.buckets[measure] for level in self.levels if measure in level.buckets)

    def named(self) -> Iterator[tuple[Level, Measure, Bucket]]:
        """Yield each bucket with the level and the limit it stands for."""
        for level in self.levels:
            for measure, bucket in level.buckets.items():
                yield level, measure, bucket

    def observe_hold(self, duration_us: int) -> None:
        """Follow how long this scope's calls take (moving average, weight 1/8)."""
        self.mean_hold_us += (duration_us - self.mean_hold_us) >> 3


def _shapes(limits: Limits) -> tuple[tuple[int, int] | None, ...]:
    """Return ``(capacity, per minute)`` of each measure that is limited."""
    rpm, tpm, in_flight = limits.rpm, limits.tpm, limits.in_flight
    return (
        None if rpm is None else (limits.rpm_burst or rpm, rpm),
        None if tpm is None else (limits.tpm_burst or tpm, tpm),
        None if in_flight is None else (in_flight, 0),
    )
