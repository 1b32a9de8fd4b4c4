"""What a gateway knows of levels whose counters are elsewhere: their limits, and how they stood last."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Final

from insula.governance.quota.bucket import UNIT
from insula.governance.quota.level import Level, Path
from insula.governance.quota.limits import Limits
from insula.governance.quota.meter import HOUR_S, NOTHING, Use, Window
from insula.governance.quota.standing import Standing, standing_of
from insula.governance.scope import PLATFORM, Scope
from insula.governance.stores.record import Ground, read_level, write_leased, write_limits
from insula.governance.stores.wire import bulk

_KEPT: Final = 50_000


@dataclass(frozen=True, slots=True)
class Route:
    """A scope's path as the scripts want it: keys of its levels, and their limits."""

    levels: tuple[tuple[str, str], ...]
    keys: bytes
    limits: bytes
    path: bytes
    budgeted: bool


class Known:
    """Limits of levels, and the last records that the store sent. Bounded: the oldest are forgotten."""

    def __init__(
        self,
        prefix: bytes,
        limits_for: Callable[[str], Limits],
        metered: Callable[[str], bool],
        gateways: int = 1,
        shards: int = 1,
    ) -> None:
        self._gateways = gateways
        self._shards = shards
        self._prefix = prefix
        self._limits_for = limits_for
        self.metered = metered
        self._set: dict[str, Limits] = {}
        self._routes: dict[str, Route] = {}
        self._records: OrderedDict[str, bytes] = OrderedDict()

    def limits(self, key: str) -> Limits:
        """Return the limits in force at a level."""
        return self._set.get(key) or self._limits_for(key)

    def set_limits(self, key: str, limits: Limits | None) -> None:
        """Change a level's limits; ``None``: back to what ``limits_for`` says."""
        if limits is None:
            self._set.pop(key, None)
        else:
            self._set[key] = limits
        self._routes.clear()

    def written(self, key: str) -> bytes:
        """Return the limits of a level for the scripts."""
        limits = self.limits(key)
        if key == PLATFORM and self._shards > 1:
            return write_leased(limits, self._shards)
        return write_limits(limits, self._gateways if limits.budgeted or self.metered(key) else 0)

    def key(self, key: str) -> bytes:
        """Return the key of a level in the store."""
        return self._prefix + b"l:" + key.encode()

    def route(self, scope: Scope) -> Route:
        """Return a scope's path."""
        route = self._routes.get(scope.key)
        if route is None:
            if len(self._routes) >= _KEPT:
                self._routes.clear()
            route = self._routes[scope.key] = self._route(tuple(scope.levels()))
        return route

    def _route(self, levels: tuple[tuple[str, str], ...]) -> Route:
        keys = [key for _, key in levels]
        return Route(
            levels,
            bulk(*(self.key(key) for key in keys)),
            bulk(b"".join(self.written(key) for key in keys)),
            bulk("\n".join(keys).encode()),
            any(self.limits(key).budgeted for key in keys),
        )

    def learn(self, route: Route, records: Iterable[object]) -> None:
        """Take in the records that came with an answer, outermost level first."""
        for (_, key), record in zip(route.levels, records, strict=False):
            self.learn_one(key, record)

    def learn_one(self, key: str, record: object) -> None:
        """Take in one record; ``None``: the store has none."""
        if isinstance(record, bytes):
            self._records[key] = record
            self._records.move_to_end(key)
            if len(self._records) > _KEPT:
                self._records.popitem(last=False)
        else:
            self._records.pop(key, None)

    def heard_of(self, key: str) -> bool:
        """Whether the store ever spoke of a level."""
        return key in self._records

    def forget(self) -> None:
        """Drop every record: they are another store's."""
        self._records.clear()

    def path(self, route: Route, ground: Ground, now_us: int) -> Path:
        """Return the path as the store has it, to be read only."""
        levels, mean_hold_us = [], 0
        for name, key in route.levels:
            level, mean_hold_us = read_level(
                name, key, self.limits(key), self._records.get(key), ground, now_us, metered=self.metered(key)
            )
            if key == PLATFORM and self._shards > 1:
                self._share(level, known=key in self._records)
            levels.append(level)
        path = Path(route.levels[-1][1], tuple(levels))
        path.mean_hold_us = mean_hold_us
        return path

    def _share(self, level: Level, *, known: bool) -> None:
        """Narrow the platform's level to what this shard has of it; what it never leased, it has not."""
        for measure, bucket in level.buckets.items():
            if measure == "in_flight":
                bucket.capacity = bucket.level = bucket.capacity // UNIT // self._shards * UNIT
            elif not known:
                bucket.level = 0

    def standing(self, scope: Scope, ground: Ground, now_us: int) -> Standing:
        """Return where a scope stands, refilled since it was last heard of."""
        route = self.route(scope)
        if self._shards > 1:  # the platform's share that is here now says nothing of what there is
            route = replace(route, levels=route.levels[1:])
        return standing_of(self.path(route, ground, now_us), now_us)

    def strict(self, scope: Scope, ground: Ground | None, now_us: int) -> bool:
        """Whether any level wants strict estimates, or is overdrawn as far as is known."""
        route = self.route(scope)
        if any(self.limits(key).strict for _, key in route.levels):
            return True
        if ground is None:
            return False
        return any(bucket.overdrawn(now_us) for bucket in self.path(route, ground, now_us).tokens)

    def budgeted(self, scope: Scope) -> bool:
        """Whether any level of a scope has a calendar budget."""
        return self.route(scope).budgeted

    def pays(self, scope: Scope) -> bool:
        """Whether any level of a scope has a budget of money."""
        levels = (self.limits(key) for _, key in scope.levels())
        return any((one.nanousd_per_day or one.nanousd_per_month) is not None for one in levels)

    def queue_wait_s(self, scope: Scope) -> int | None:
        """Return what the innermost level says that says something."""
        for _, key in reversed(scope.levels()):
            wait = self.limits(key).queue_wait_s
            if wait is not None:
                return wait
        return None

    def used(self, key: str, window: Window, ground: Ground, now_us: int) -> Use:
        """Return what a level used in the present window, as far as is known."""
        record = self._records.get(key)
        if record is None:
            return NOTHING
        level, _ = read_level(key, key, self.limits(key), record, ground, now_us, metered=True)
        assert level.meter is not None
        level.meter.at(now_us // (HOUR_S * 1_000_000))
        return level.meter.used(window)
