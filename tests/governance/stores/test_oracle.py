"""The scripts against the governor: the same trace, decision for decision, register for register."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from insula.governance import PLATFORM, Amounts, Expiry, Governor, Hard, Limits, Need, Scope
from insula.governance.quota.grant import LATE_US
from insula.governance.quota.level import BUDGETS, RATES
from insula.governance.quota.limits import BOUNDS
from insula.governance.quota.meter import Use
from insula.governance.stores.address import Address
from insula.governance.stores.record import read_level
from insula.governance.stores.valkey import ValkeyStore
from insula.kernel.errors import LimitError

START_US = 1_796_083_000_000_000  # the last hour of a November, so that days and months turn
SCOPES = [
    Scope("acme"),
    Scope("acme", "desk"),
    Scope("acme", "desk", "clerk"),
    Scope("blue"),
    Scope("blue", "bot", "bot"),
]
KEYS = [PLATFORM, "acme", "acme/desk", "acme/desk/clerk", "blue", "blue/bot", "blue/bot/bot"]
METERED = {"acme/desk"}
MEASURES = (*RATES, "in_flight", *(budget[0] for budget in BUDGETS))


class Oracle(Governor):
    """Keeps idle levels, so that how long calls take is remembered as long as in the store."""

    def _forget_idle(self, now: int) -> None:
        pass

    def set_limits(self, key: str, limits: Limits | None) -> None:
        """Of two limits in the way that are alike, the first by name is told, not the first that was set."""
        super().set_limits(key, limits)
        level = self._levels.get(key)
        if level is not None:
            level.buckets = {name: level.buckets[name] for name in MEASURES if name in level.buckets}
            level.budgets = {name: level.budgets[name] for name in MEASURES if name in level.budgets}

    def _settle_late(self, rid: str, used: Amounts) -> Amounts:
        """Late by a day is too late, whichever order calls expired in."""
        grant = self._expired.get(rid)
        if grant is not None and grant.expires_us + LATE_US <= self._clock_us():
            del self._expired[rid]
        return super()._settle_late(rid, used)


def small_limits(chance: random.Random, *, budgets: bool) -> dict[str, int]:
    figures: dict[str, int] = {}
    for rate, most in (("rpm", 30), ("tpm", 400), ("input_tpm", 300), ("output_tpm", 300)):
        if chance.random() < 0.4:
            figures[rate] = chance.randint(1, most)
            if chance.random() < 0.4:
                figures[f"{rate}_burst"] = chance.randint(1, most)
    if chance.random() < 0.4:
        figures["in_flight"] = chance.randint(1, 4)
    if budgets:
        for budget in ("tokens_per_day", "tokens_per_month"):
            if chance.random() < 0.3:
                figures[budget] = chance.randint(50, 9_000)
        for budget in ("nanousd_per_day", "nanousd_per_month"):
            if chance.random() < 0.3:
                figures[budget] = chance.randint(10**8, 10**11)
    return figures


HUGE = {
    "rpm": 10**9, "rpm_burst": 999_999_937, "tpm": 10**12, "tpm_burst": 999_999_999_989,
    "input_tpm": 999_999_999_961, "output_tpm": 999_999_999_877, "output_tpm_burst": 10**12,
    "tokens_per_day": 10**15, "tokens_per_month": 10**15 - 1,
    "nanousd_per_day": 10**18, "nanousd_per_month": 10**18 - 1, "in_flight": 10**6,
}  # fmt: skip


def huge_limits(chance: random.Random) -> dict[str, int]:
    """The largest figures that limits take, and some below them that divide badly."""
    chosen = {name: most for name, most in HUGE.items() if chance.random() < 0.5}
    return {name: most for name, most in chosen.items() if name.removesuffix("_burst") in chosen}


class Pair:
    """Both stores under one clock that a trace sets."""

    def __init__(self, address: str, prefix: str, limits: dict[str, dict[str, int]], expiry: Expiry) -> None:
        self.now = START_US
        self.limits = {key: Limits.parse(figures) for key, figures in limits.items()}
        self.oracle = Oracle(
            lambda: self.now,
            self.limits_for,
            wall_s=lambda: self.now / 1e6,
            metered=lambda _key: True,
            on_expiry=expiry,
        )
        self.rows: dict[str, list[tuple[int, Use]]] = {}
        self.store = ValkeyStore(
            Address.parse(address),
            self.limits_for,
            metered=METERED.__contains__,
            books=self.books,
            on_expiry=expiry,
            prefix=prefix,
            now_us=lambda: self.now,
            timeout_s=5,
        )

    def limits_for(self, key: str) -> Limits:
        return self.limits.get(key, Limits())

    async def books(self, _until: float) -> dict[str, list[tuple[int, Use]]]:
        return self.rows

    def load(self) -> None:
        for key, rows in self.rows.items():
            name = ("tenant", "application", "agent")[key.count("/")] if key != PLATFORM else "platform"
            self.oracle.load(name, key, rows)

    async def step(self, op: dict[str, Any]) -> tuple[Any, Any]:
        self.now = op["at"]
        mine, theirs = self.step_oracle(op), await self.step_store(op)
        while self.store._outgoing:
            await asyncio.sleep(0)
        return mine, theirs

    def step_oracle(self, op: dict[str, Any]) -> Any:
        do, rid = op["do"], op.get("rid", "")
        if do == "reserve":
            try:
                return self.oracle.reserve(op["scope"], rid, op["need"], op["ttl_s"]).hard
            except LimitError as error:
                return told(error)
        if do == "expire":
            return sorted(self.oracle.expire())
        if do == "extend":
            return self.oracle.extend(rid, op["more"])
        if do == "limit":
            return self.oracle.set_limits(op["key"], op["limits"])
        self.call(self.oracle, do, rid, op)
        return None

    async def step_store(self, op: dict[str, Any]) -> Any:
        do, rid = op["do"], op.get("rid", "")
        if do == "reserve":
            try:
                return (await self.store.reserve(op["scope"], rid, op["need"], op["ttl_s"])).hard
            except LimitError as error:
                return told(error)
        if do == "expire":
            return sorted(await self.store.expire())
        if do == "extend":
            return await self.store.extend(rid, op["more"])
        if do == "limit":
            self.store.set_limits(op["key"], op["limits"])
            await self.store._link.wire.ask(b"PING")  # type: ignore[union-attr]
            return None
        self.call(self.store, do, rid, op)
        return None

    def call(self, store: Any, do: str, rid: str, op: dict[str, Any]) -> None:
        if do in ("progress", "settle"):
            getattr(store, do)(rid, op["used"])
        else:
            getattr(store, do)(rid)

    async def compare_registers(self) -> None:
        ground = self.store._link.ground
        assert ground is not None
        levels = list(self.oracle._levels.items())
        wire = self.store._link.wire
        assert wire is not None
        records = (
            await wire.ask(b"MGET", *(self.store._known.key(key) for key, _ in levels)) if levels else []
        )
        assert isinstance(records, list)
        for (key, level), raw in zip(levels, records, strict=True):
            if raw is None:
                assert all(bucket.idle(self.now) for bucket in level.buckets.values())
                continue
            assert isinstance(raw, bytes)
            other, _ = read_level(
                level.name, key, self.limits_in_force(key), raw, ground, self.now, metered=key in METERED
            )
            if level.meter is not None:
                level.meter.at(int(self.now / 1e6) // 3600)
            for measure, bucket in level.buckets.items():
                found = other.buckets[measure]
                assert found.pending == bucket.pending, (key, measure)
                assert found.free(self.now) == bucket.free(self.now), (key, measure)
            for measure, budget in level.budgets.items():
                assert (other.budgets[measure].pending, other.budgets[measure].used) == (
                    budget.pending,
                    budget.used,
                ), (key, measure)
            if level.meter is not None and other.meter is not None:
                for window in ("hour", "day", "month"):
                    assert other.meter.used(window) == level.meter.used(window), (key, window)

    def limits_in_force(self, key: str) -> Limits:
        assert self.store.limits(key) == self.oracle.limits(key)
        return self.store.limits(key)

    def compare_standing(self, scope: Scope) -> None:
        assert self.store.standing(scope) == self.oracle.standing(scope)
        assert self.store.strict(scope) == self.oracle.strict(scope)
        assert self.store.queue_wait_s(scope) == self.oracle.queue_wait_s(scope)
        assert self.store.budgeted(scope) == self.oracle.budgeted(scope)


def told(error: LimitError) -> tuple[Any, ...]:
    return type(error), error.message, error.hint, error.retry_after_s, tuple(sorted(error.details.items()))


def some_need(chance: random.Random, scale: int) -> Need:
    def some() -> int:
        return chance.choice([0, 1, chance.randint(0, 60), chance.randint(0, 60) * scale])

    read, produced, money = some(), some(), max(1, scale // 1000)
    cap = Hard(read + produced + some(), chance.randint(0, 10**9) * money)
    least = Hard(chance.randint(0, cap.quota), chance.choice([0, cap.nanousd // 3, cap.nanousd]))
    want = Hard(chance.randint(least.quota, cap.quota), chance.randint(least.nanousd, cap.nanousd))
    charge = Amounts(0, read, read, 0, 0)
    return Need(Amounts(1, read + produced, read, produced, 0), cap, want, least, charge)


def some_use(chance: random.Random, scale: int) -> Amounts:
    read, produced = chance.randint(0, 50) * chance.choice([1, scale]), chance.randint(0, 70)
    return Amounts(0, read + produced, read, produced, chance.randint(0, 3 * 10**9) * max(1, scale // 1000))


def trace(chance: random.Random, length: int, *, scale: int, change: bool) -> list[dict[str, Any]]:
    """Operations in any order and repetition; the clock mostly moves on, at times by hours, at times back."""
    now, found = START_US, []
    rids = [f"call{number}" for number in range(9)]
    owner = {rid: chance.choice(SCOPES) for rid in rids}
    for _ in range(length):
        gap = chance.choice(
            [0, 1, 999, 250_000, 1_000_000, chance.randint(0, 20_000_000), chance.randint(0, 90_000_000)]
        )
        now += gap
        if chance.random() < 0.01:
            now += chance.randint(1, 40) * 1_800_000_000
            found.append({"do": "expire", "at": now})
        if not change and chance.random() < 0.02:
            now -= chance.randint(1, 5_000_000)
        do = chance.choice(
            ["reserve"] * 6 + ["settle"] * 3 + ["sent", "progress", "progress", "cancel", "extend"]
        )
        if chance.random() < 0.04:
            do = "expire"
        if change and chance.random() < 0.03:
            do = "limit"
        op: dict[str, Any] = {"do": do, "at": now}
        if do == "limit":
            op["key"] = chance.choice(KEYS)
        elif do != "expire":
            op["rid"] = chance.choice(rids)
        if do == "reserve":
            op |= {"need": some_need(chance, scale), "scope": owner[op["rid"]]}
            op["ttl_s"] = chance.choice([0.5, 30.0, 600.0])
        if do in ("settle", "progress"):
            op["used"] = some_use(chance, scale)
        if do == "extend":
            op["more"] = Hard(chance.randint(0, 300), chance.randint(0, 10**9) * max(1, scale // 1000))
        found.append(op)
    return found


def changed(chance: random.Random, limits: Limits) -> Limits:
    """Other figures for the limits that are there, and perhaps one more."""
    figures = {name: value for name, value in limits.as_dict().items() if value is not None}
    for name in list(figures):
        if name.endswith("burst") or name in ("strict", "queue_wait_s", "debt_percent", "in_flight"):
            continue
        figures[name] = min(BOUNDS[name][1], max(1, int(figures[name]) * chance.randint(1, 30) // 10))
    if "in_flight" in figures:
        figures["in_flight"] = max(1, int(figures["in_flight"]) - chance.randint(0, 1))
    extra = chance.choice(["rpm", "tpm", "output_tpm", "tokens_per_day"])
    figures.setdefault(extra, chance.randint(5, 500) * (30 if extra == "tokens_per_day" else 1))
    return Limits(**figures)  # type: ignore[arg-type]


async def run(pair: Pair, ops: list[dict[str, Any]], chance: random.Random) -> int:
    await pair.store.start()
    pair.load()
    admitted = 0
    try:
        for number, op in enumerate(ops):
            if op["do"] == "limit":
                op["limits"] = changed(chance, pair.store.limits(op["key"]))
                if not await pair.store._link.wire.ask(b"EXISTS", pair.store._known.key(op["key"])):  # type: ignore[union-attr]
                    continue
            known, rid = set(pair.oracle._live), op.get("rid", "")
            earlier = pair.store._calls.get(rid)
            if op["do"] == "reserve" and rid not in known:
                # As if another gateway asked, which knows nothing of an earlier call of that name.
                pair.store._calls.pop(rid, None)
            mine, theirs = await pair.step(op)
            if earlier is not None and rid in pair.oracle._expired:
                pair.store._calls[rid] = earlier
            assert mine == theirs, f"step {number}: governor {mine}; store {theirs}; {op}"
            admitted += isinstance(mine, Hard) and op["do"] == "reserve"
            if number % 15 == 0:
                await pair.compare_registers()
            if op["do"] == "reserve" and rid not in known:
                pair.compare_standing(op["scope"])
        await pair.compare_registers()
    finally:
        await pair.store.stop()
    return admitted


def rows(chance: random.Random, scale: int) -> list[tuple[int, Use]]:
    hour = START_US // 3_600_000_000
    return [
        (hour - back, Use(chance.randint(0, 500), chance.randint(0, 10**9) * scale, chance.randint(1, 5)))
        for back in (30, 2, 0)
    ]


@pytest.mark.parametrize("seed", range(10))
def test_every_decision_is_the_governors(shared_server: Any, seed: int) -> None:
    chance = random.Random(seed)
    scale = 1 if seed % 3 else 10**9
    limits = {
        key: small_limits(chance, budgets=seed % 2 == 0) if scale == 1 else huge_limits(chance)
        for key in KEYS
    }
    expiry = (Expiry.INPUT_ONLY, Expiry.ZERO, Expiry.FULL_HOLD)[seed % 3]
    pair = Pair(shared_server.address, f"oracle{seed}:{{0}}:", limits, expiry)
    pair.rows = {key: rows(chance, 1) for key in KEYS if chance.random() < 0.5}
    ops = trace(chance, 320, scale=scale, change=seed >= 4)
    admitted = asyncio.run(run(pair, ops, chance))
    assert 10 < admitted < len(ops), "a trace that admits nothing, or everything, proves nothing"
