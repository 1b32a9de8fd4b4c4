"""The oracle: the governor's rules once more, written the slow and obvious way, to be compared with."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import pytest

from insula.governance import Governor, Limits, Need, Scope, used_tokens
from insula.kernel.errors import LimitError

MINUTE_US = 60_000_000


@dataclass
class SlowBucket:
    """One limit in exact fractions of a unit."""

    capacity: Fraction
    per_us: Fraction
    level: Fraction
    stamp: int
    holds: dict[str, Fraction] = field(default_factory=dict)
    settled: Fraction = Fraction(0)
    refilled: Fraction = Fraction(0)

    def at(self, now: int) -> Fraction:
        return min(self.capacity, self.level + max(0, now - self.stamp) * self.per_us)

    def write(self, now: int) -> None:
        level = self.at(now)
        self.refilled += level - self.level
        self.level, self.stamp = level, max(now, self.stamp)

    def free(self, now: int) -> Fraction:
        return self.at(now) - sum(self.holds.values(), Fraction(0))

    def use(self, rid: str, amount: Fraction, now: int) -> None:
        self.write(now)
        self.level -= amount
        self.settled += amount
        if rid in self.holds:
            self.holds[rid] -= min(amount, self.holds[rid])


class SlowGovernor:
    """Replays a trace: a list of JSON-able operations, each with its time in microseconds."""

    def __init__(self, limits: dict[str, dict[str, int]]) -> None:
        self.buckets: dict[tuple[str, str], SlowBucket] = {}
        for key, figures in limits.items():
            for measure, rate in figures.items():
                capacity = Fraction(figures.get(f"{measure}_burst", rate))
                per_us = Fraction(rate, MINUTE_US) if measure != "in_flight" else Fraction(0)
                if measure in ("rpm", "tpm", "in_flight"):
                    self.buckets[key, measure] = SlowBucket(capacity, per_us, capacity, 0)
        self.live: dict[str, dict[str, Any]] = {}
        self.expired: dict[str, dict[str, Any]] = {}

    def step(self, op: dict[str, Any]) -> str:
        return str(getattr(self, op["do"])(**{k: v for k, v in op.items() if k != "do"}))

    def reserve(self, at: int, rid: str, path: list[str], tokens: int, given: int, ttl_us: int) -> str:
        if rid in self.live:
            return "admitted"
        wanted = {"rpm": 1, "tpm": tokens, "in_flight": 1}
        if not self._fits(path, wanted, at):
            self._expire_due(at)
        if not self._fits(path, wanted, at):
            return "refused"
        self.expired.pop(rid, None)
        for key, measure in self._of(path):
            self.buckets[key, measure].holds[rid] = Fraction(wanted[measure])
        self.live[rid] = {
            "path": path, "used": 0, "sent": False, "until": at + ttl_us, "given": given, "tokens": tokens
        }  # fmt: skip
        return "admitted"

    def sent(self, at: int, rid: str) -> str:
        call = self.live.get(rid)
        if call and not call["sent"]:
            call["sent"] = True
            self._use(call, rid, "rpm", 1, at)
        return "ok"

    def progress(self, at: int, rid: str, tokens: int) -> str:
        if rid in self.live:
            self.sent(at, rid)
            self._up_to(self.live[rid], rid, tokens, at)
        return "ok"

    def settle(self, at: int, rid: str, tokens: int) -> str:
        call = self.live.get(rid) or self.expired.pop(rid, None)
        if call is None:
            return "0"
        before = call["used"]
        self.progress(at, rid, tokens)
        self._up_to(call, rid, tokens, at)
        self._end(rid)
        return str(call["used"] - before)

    def cancel(self, at: int, rid: str) -> str:
        self._end(rid)
        return "ok"

    def expire(self, at: int) -> str:
        return ",".join(sorted(self._expire_due(at)))

    def _of(self, path: list[str]) -> list[tuple[str, str]]:
        return [key for key in self.buckets if key[0] in path]

    def _fits(self, path: list[str], wanted: dict[str, int], at: int) -> bool:
        return all(self.buckets[key].free(at) >= wanted[key[1]] for key in self._of(path))

    def _use(self, call: dict[str, Any], rid: str, measure: str, amount: int, at: int) -> None:
        for key in self._of(call["path"]):
            if key[1] == measure:
                self.buckets[key].use(rid, Fraction(amount), at)

    def _up_to(self, call: dict[str, Any], rid: str, tokens: int, at: int) -> None:
        if tokens > call["used"]:
            self._use(call, rid, "tpm", tokens - call["used"], at)
            call["used"] = tokens

    def _end(self, rid: str) -> None:
        self.live.pop(rid, None)
        for bucket in self.buckets.values():
            bucket.holds.pop(rid, None)

    def _expire_due(self, at: int) -> list[str]:
        due = [rid for rid, call in self.live.items() if call["until"] <= at]
        for rid in due:
            self.progress(at, rid, self.live[rid]["given"])
            self.expired[rid] = self.live[rid]
            self._end(rid)
        return due


class Rig:
    """A real governor driven by the same trace."""

    def __init__(self, limits: dict[str, dict[str, int]]) -> None:
        self.now = 0
        self.governor = Governor(lambda: self.now, lambda key: Limits.parse(limits.get(key, {})))

    def step(self, op: dict[str, Any]) -> str:
        self.now = op["at"]
        do, rid = op["do"], op.get("rid", "")
        if do == "reserve":
            return self._reserve(op)
        if do == "expire":
            return ",".join(sorted(self.governor.expire()))
        if do == "settle":
            return str(self.governor.settle(rid, used_tokens(op["tokens"])).quota)
        if do == "progress":
            self.governor.progress(rid, used_tokens(op["tokens"]))
        else:
            getattr(self.governor, do)(rid)
        return "ok"

    def _reserve(self, op: dict[str, Any]) -> str:
        scope = Scope(*op["path"][1:]) if "/" not in op["path"][-1] else Scope(*op["path"][-1].split("/"))
        try:
            need = Need.tokens(op["tokens"], op["given"])
            self.governor.reserve(scope, op["rid"], need, op["ttl_us"] / 1e6)
        except LimitError:
            return "refused"
        return "admitted"

    def level(self, key: str, measure: str) -> tuple[Fraction, Fraction]:
        """Return (level at the last write, pending) in units."""
        bucket = self.governor._levels[key].buckets[measure]  # type: ignore[index]
        return Fraction(bucket.level, MINUTE_US), Fraction(bucket.pending, MINUTE_US)


def replay(limits: dict[str, dict[str, int]], trace: list[dict[str, Any]]) -> tuple[Rig, SlowGovernor]:
    """Run a trace through both; every answer must be the same. A failure prints a trace to paste back."""
    rig, slow = Rig(limits), SlowGovernor(limits)
    for number, op in enumerate(trace):
        mine, theirs = rig.step(op), slow.step(op)
        if mine != theirs:
            told = json.dumps({"limits": limits, "trace": trace[: number + 1]})
            raise AssertionError(f"governor: {mine}, oracle: {theirs}; replay with {told}")
    return rig, slow


@pytest.fixture(name="replay", scope="session")
def replay_fixture() -> Any:
    return replay
