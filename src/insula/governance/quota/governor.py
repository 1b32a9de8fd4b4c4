"""The governor: reserves before a call, follows it, settles after it, on every level at once.

Synchronous and in process: one event loop owns it, a decision never waits, so no lock is needed and
no other decision can come between the check and the hold.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

from insula.governance.quota.bucket import UNIT
from insula.governance.quota.grant import LATE_US, Expiry, Grant
from insula.governance.quota.level import Level, Path
from insula.governance.quota.limits import Limits
from insula.governance.quota.meter import HOUR_S, NOTHING, Meter, Use, Window, month_of
from insula.governance.quota.need import Amounts, Hard, Need, promise
from insula.governance.quota.pool import Pool
from insula.governance.quota.refusal import explain
from insula.governance.quota.standing import Standing, standing_of
from insula.governance.scope import PLATFORM, Scope
from insula.kernel.errors import LimitError

_REMEMBERED = 100_000
_LOOKED_AT = 1_000
_ONE_CALL = Need.tokens()


class Governor:
    """Limits of all levels, and the reservations that are running.

    ``clock_us`` returns monotonic microseconds, ``wall_s`` seconds since the epoch (only to know which
    hour it is). ``limits_for`` returns the limits of a level that is met for the first time (``PLATFORM``,
    ``tenant``, ``tenant/app``, ``tenant/app/agent``); ``set_limits`` changes them later. ``metered`` says
    whether a level's use must be counted although it has no budget. ``pool_of`` returns a tenant's ledger.
    ``on_debt`` is told the key of a level whose overruns exceed what it bears, and by how many tokens, once
    until they are repaid.

    A level costs memory only while it is in use: ``expire`` forgets those that are as good as new.
    """

    def __init__(
        self,
        clock_us: Callable[[], int],
        limits_for: Callable[[str], Limits],
        *,
        wall_s: Callable[[], float] = lambda: 0.0,
        metered: Callable[[str], bool] = lambda _key: False,
        pool_of: Callable[[str], Pool | None] = lambda _tenant: None,
        on_debt: Callable[[str, int], None] = lambda _level, _tokens: None,
        on_expiry: Expiry = Expiry.INPUT_ONLY,
    ) -> None:
        self._clock_us = clock_us
        self._wall_s = wall_s
        self._limits_for = limits_for
        self._metered = metered
        self._pool_of = pool_of
        self._on_debt = on_debt
        self._in_debt: set[str] = set()
        self._on_expiry = on_expiry
        self._levels: dict[str, Level] = {}
        self._paths: dict[str, Path] = {}
        self._set: dict[str, Limits] = {}
        self._live: dict[str, Grant] = {}
        self._expired: dict[str, Grant] = {}
        self._soonest_us = 0
        self._rotation: deque[str] = deque()
        self._asleep: dict[str, bytes] = {}
        self._month = 0

    def reserve(self, scope: Scope, rid: str, need: Need = _ONE_CALL, ttl_s: float = 600.0) -> Grant:
        """Hold what a call needs on every level, or nothing.

        The same ``rid`` again returns the first grant. ``grant.hard`` is what the budgets hold: between
        ``need.least`` and ``need.cap``, by ``promise``. Raises ``RateLimited`` (waiting
        helps: ``retry_after_s``; ``details`` carry ``level``, ``limit``, ``kind``), ``BudgetExhausted``
        (nothing helps before ``reset_at``) or ``ExceedsLimit`` (waiting cannot help). A refusal changes
        nothing.
        """
        known = self._live.get(rid)
        if known is not None:
            return known
        now = self._clock_us()
        path = self._paths.get(scope.key) or self._path(scope, now)
        if path.meters:
            self._turn(path)
        hard = _admit(path, need, now)
        if hard is None:
            hard = self._refuse_unless_expiry_helps(path, need, now)
        if path.pool is not None:
            path.pool.hold(rid, need.run, hard.quota, need.charge.quota)
        grant = Grant(rid, path, need, hard, now, int(ttl_s * 1_000_000))
        grant.hold()
        path.live += 1
        self._live[rid] = grant
        if self._expired:
            self._drop_expired(rid)
        if grant.expires_us < self._soonest_us:
            self._soonest_us = grant.expires_us
        return grant

    def sent(self, rid: str) -> None:
        """Note that the request went upstream: it counts now, and is not given back."""
        grant = self._live.get(rid)
        if grant is not None:
            grant.send(self._clock_us())

    def progress(self, rid: str, used: Amounts) -> None:
        """Note what the call has used so far, input included (cumulative; less is ignored)."""
        grant = self._live.get(rid)
        if grant is not None:
            now = self._clock_us()
            grant.send(now)
            grant.progress(used, now)

    def extend(self, rid: str, more: Hard) -> Hard:
        """Raise what the budgets hold for a call by up to ``more``; return what they hold now.

        Gives what there is, which may be nothing: then the call must end at what is held.
        """
        grant = self._live.get(rid)
        if grant is None:
            return Hard()
        path = grant.path
        if path.meters:
            self._turn(path)
        quota, money = _room(path, grant.need.run)
        quota = more.quota if quota is None else max(0, min(more.quota, quota))
        money = more.nanousd if money is None else max(0, min(more.nanousd, money))
        grant.extend(Hard(quota, money))
        if path.pool is not None and quota:
            path.pool.extend(rid, quota)
        return grant.hard

    def settle(self, rid: str, used: Amounts) -> Amounts:
        """End the call at ``used`` in all (cumulative). Return what this settle debited.

        A second settle does nothing and returns zeros. After an expiry, what the call used beyond the
        charge is debited, once.
        """
        grant = self._live.pop(rid, None)
        if grant is None:
            return self._settle_late(rid, used)
        now = self._clock_us()
        quota, read, produced = grant.used_quota, grant.used_input, grant.used_output
        grant.finish(used, now)
        path = grant.path
        if path.meters:
            grant.count(used, self._hour())
        if path.pool is not None:
            path.pool.settle(rid, used.quota)
        path.live -= 1
        path.observe_hold(now - grant.reserved_us)
        for bucket in path.tokens:
            if bucket.level < 0:
                self._note_debts(path, now)
                break
        return Amounts(0, grant.used_quota - quota, grant.used_input - read, grant.used_output - produced, 0)

    def _note_debts(self, path: Path, now: int) -> None:
        for level in path.levels:
            bucket = level.buckets.get("tpm")
            if bucket is None or not bucket.overdrawn(now):
                self._in_debt.discard(level.key)
            elif level.key not in self._in_debt:
                self._in_debt.add(level.key)
                self._on_debt(level.key, -bucket.level // UNIT)

    def cancel(self, rid: str) -> None:
        """Give the reservation back: a request that was never sent costs nothing."""
        grant = self._live.pop(rid, None)
        if grant is not None:
            grant.release()
            grant.path.live -= 1
            if grant.path.pool is not None:
                grant.path.pool.release(rid)

    def expire(self, now_us: int | None = None) -> tuple[str, ...]:
        """End the reservations whose time is up; return their ids. Also forget idle levels.

        Called about once a second, traffic or not.
        """
        now = self._clock_us() if now_us is None else now_us
        due = self._expire_due(now)
        self._forget_expired(now)
        self._forget_idle(now)
        self._forget_months()
        return due

    def limits(self, key: str) -> Limits:
        """Return the limits in force at a level."""
        level = self._levels.get(key)
        if level is not None:
            return level.limits
        return self._set.get(key) or self._limits_for(key)

    def set_limits(self, key: str, limits: Limits | None) -> None:
        """Change a level's limits from now on; ``None`` goes back to what ``limits_for`` says.

        What was used and reserved stays used and reserved, and running calls are counted by a limit that
        is new. A level that gets its first budget counts from what ``load`` tells it.
        """
        if limits is None:
            self._set.pop(key, None)
            limits = self._limits_for(key)
        else:
            self._set[key] = limits
        level = self._levels.get(key)
        if level is None:
            return
        added = level.apply(limits, self._clock_us(), self._hour())
        self._rebuild(level)
        for grant in self._live.values():
            if level in grant.path.levels:
                for measure, counter in added:
                    grant.adopt(measure, counter)

    def meter(self, name: str, key: str) -> Meter:
        """Return the meter of a level, which counts from now on at the latest."""
        level = self._level(name, key, self._clock_us())
        if level.meter is None:
            level.metered(self._hour())
            self._rebuild(level)
        meter = level.metered(self._hour())
        meter.at(self._hour())
        return meter

    def begin_meter(self, name: str, key: str) -> bool:
        """Let a level count what it uses; ``False`` if it does already."""
        level = self._levels.get(key)
        if key in self._asleep or (level is not None and level.meter is not None):
            return False
        self.meter(name, key)
        return True

    def load(self, name: str, key: str, rows: Iterable[tuple[int, Use]]) -> None:
        """Tell a level what it used before this process counted: ``(hour, use)`` from the books."""
        self.meter(name, key).load(rows)

    def used(self, key: str, window: Window) -> Use:
        """Return what a metered level used in the present window; nothing if it is not metered."""
        level = self._levels.get(key)
        meter = level.meter if level is not None else None
        if key in self._asleep:
            meter = Meter.awake(self._asleep[key])
        if meter is None:
            return NOTHING
        meter.at(self._hour())
        return meter.used(window)

    def meters(self) -> tuple[str, ...]:
        """Return the keys of all levels that count what they use."""
        awake = (key for key, level in self._levels.items() if level.meter is not None)
        return (*awake, *self._asleep)

    def overdrawn(self, scope: Scope) -> bool:
        """Whether overruns on any level have left a larger debt than it bears: estimate strictly then."""
        path = self._paths.get(scope.key)
        if path is None:
            return False
        now = self._clock_us()
        return any(bucket.overdrawn(now) for bucket in path.tokens)

    def strict(self, scope: Scope) -> bool:
        """Whether any level wants estimates to reserve all of ``max_tokens``."""
        path = self._paths.get(scope.key) or self._path(scope, self._clock_us())
        if path.strict or not path.tokens:
            return path.strict
        return any(bucket.level < 0 and bucket.overdrawn(self._clock_us()) for bucket in path.tokens)

    def budgeted(self, scope: Scope) -> bool:
        """Whether any level of a scope has a calendar budget, or the tenant a ledger."""
        path = self._paths.get(scope.key) or self._path(scope, self._clock_us())
        return bool(path.periods or path.money or path.pool is not None)

    def pays(self, scope: Scope) -> bool:
        """Whether any level of a scope has a budget of money."""
        path = self._paths.get(scope.key) or self._path(scope, self._clock_us())
        return bool(path.money)

    def queue_wait_s(self, scope: Scope) -> int | None:
        """Return how long a call may wait at most for its quota: what the innermost level says that does."""
        path = self._paths.get(scope.key) or self._path(scope, self._clock_us())
        return path.queue_wait_s

    def standing(self, scope: Scope) -> Standing:
        """Return where a scope stands, for response headers and ``/v1/limits``."""
        now = self._clock_us()
        path = self._paths.get(scope.key) or self._path(scope, now)
        return standing_of(path, now)

    def path(self, scope: Scope) -> Path:
        """Return the levels of a scope as they are now, to be read only."""
        path = self._paths.get(scope.key) or self._path(scope, self._clock_us())
        if path.meters:
            self._turn(path)
        return path

    def ledgered(self, scope: Scope) -> bool:
        """Whether a scope's calls draw on a ledger of its tenant."""
        path = self._paths.get(scope.key) or self._path(scope, self._clock_us())
        return path.pool is not None

    def in_flight(self) -> int:
        """Return how many reservations are running."""
        return len(self._live)

    def levels(self) -> Iterable[Level]:
        """Return every level that is in use."""
        return self._levels.values()

    def _hour(self) -> int:
        return int(self._wall_s()) // HOUR_S

    def _turn(self, path: Path) -> None:
        """Bring the meters of a path to the present hour."""
        hour = self._hour()
        for meter in path.meters:
            if meter.hour != hour:
                meter.at(hour)

    def _path(self, scope: Scope, now: int) -> Path:
        levels = tuple(self._level(name, key, now) for name, key in scope.levels())
        path = self._paths[scope.key] = Path(scope.key, levels, self._pool_of(scope.tenant))
        for level in levels[1:]:
            level.paths.add(path)
        return path

    def _level(self, name: str, key: str, now: int) -> Level:
        level = self._levels.get(key)
        if level is None:
            hour = self._hour()
            slept = self._asleep.pop(key, None)
            meter = Meter.awake(slept) if slept is not None else Meter(hour) if self._metered(key) else None
            level = Level(name, key, self.limits(key), now, hour, meter)
            self._levels[key] = level
            self._rotation.append(key)
        return level

    def _rebuild(self, level: Level) -> None:
        for path in level.paths or self._paths.values():
            if level in path.levels:
                path.pool = self._pool_of(path.tenant)
                path.rebuild()

    def _refuse_unless_expiry_helps(self, path: Path, need: Need, now: int) -> Hard:
        """Raise the refusal, unless reservations that are overdue were all that stood in the way."""
        if self._live and now >= self._soonest_us:
            self._expire_due(now)
            hard = _admit(path, need, now)
            if hard is not None:
                return hard
        raise self._refusal(path, need, now)

    def _refusal(self, path: Path, need: Need, now: int) -> LimitError:
        return explain(path, need, now, self._hour()).error()

    def _expire_due(self, now: int) -> tuple[str, ...]:
        if not self._live or now < self._soonest_us:
            return ()
        due = [grant for grant in self._live.values() if grant.expires_us <= now]
        for grant in due:
            del self._live[grant.rid]
            grant.expire(self._on_expiry, now)
            if grant.path.pool is not None:
                grant.path.pool.lapse(grant.rid)
            self._expired[grant.rid] = grant
        self._soonest_us = min((grant.expires_us for grant in self._live.values()), default=0)
        return tuple(grant.rid for grant in due)

    def _settle_late(self, rid: str, used: Amounts) -> Amounts:
        grant = self._drop_expired(rid)
        if grant is None:
            return Amounts()
        quota, read, produced = grant.used_quota, grant.used_input, grant.used_output
        grant.progress(used, self._clock_us())
        grant.count(used, self._hour())
        if grant.path.pool is not None:
            grant.path.pool.settle(rid, used.quota)
        return Amounts(0, grant.used_quota - quota, grant.used_input - read, grant.used_output - produced, 0)

    def _forget_expired(self, now: int) -> None:
        """Keep expired reservations for a day, and never more than a bounded number of them."""
        for rid in list(self._expired):
            old = self._expired[rid].expires_us + LATE_US <= now
            if not old and len(self._expired) <= _REMEMBERED:
                return
            self._drop_expired(rid)

    def _drop_expired(self, rid: str) -> Grant | None:
        grant = self._expired.pop(rid, None)
        if grant is not None:
            grant.path.live -= 1
        return grant

    def _platform(self, key: str) -> bool:
        """Whether this is the platform's level and somebody still passes it."""
        return key == PLATFORM and bool(self._paths)

    def _forget_idle(self, now: int) -> None:
        """Drop levels that are as good as new; one that returns starts as full as it would have been.

        A bounded number is looked at each time, in rotation: a million idle tenants must not cost a look
        at each of them every second.
        """
        for _ in range(min(len(self._rotation), _LOOKED_AT)):
            key = self._rotation.popleft()
            level = self._levels[key]
            if not level.idle(now) or any(path.live for path in level.paths) or self._platform(key):
                self._rotation.append(key)
                continue
            for path in list(level.paths):
                del self._paths[path.key]
                for other in path.levels[1:]:
                    other.paths.discard(path)
            del self._levels[key]
            if level.meter is not None and not level.meter.empty:
                self._asleep[key] = level.meter.asleep()

    def _forget_months(self) -> None:
        """What was used before this month decides about nothing any more."""
        hour = self._hour()
        if month_of(hour) > self._month:
            self._month = month_of(hour)
            for key, figures in list(self._asleep.items()):
                meter = Meter.awake(figures)
                meter.at(hour)
                if meter.empty:
                    del self._asleep[key]


def _admit(path: Path, need: Need, now: int) -> Hard | None:
    """Return what the budgets can hold if every counter has room, else ``None``. Reads only."""
    requests, quota, read, produced, _ = need.estimate
    for bucket in path.requests:
        if bucket.free(now) < requests * UNIT:
            return None
    ticks = quota * UNIT
    for bucket in path.tokens:
        if bucket.free(now) < ticks:
            return None
    for bucket in path.inputs:
        if bucket.free(now) < read * UNIT:
            return None
    for bucket in path.outputs:
        if bucket.free(now) < produced * UNIT:
            return None
    for bucket in path.slots:
        if bucket.free(now) < UNIT:
            return None
    return _budgeted(path, need)


def _budgeted(path: Path, need: Need) -> Hard | None:
    """Return what the budgets can hold for a call, ``None`` if that is less than it needs at least."""
    if not path.budgeted and path.pool is None:
        return need.cap
    quota, money = _room(path, need.run)
    cap, want = need.cap, need.want
    held = Hard(
        cap.quota if quota is None else promise(cap.quota, want.quota, quota),
        cap.nanousd if money is None else promise(cap.nanousd, want.nanousd, money),
    )
    enough = held.quota >= need.least.quota and held.nanousd >= need.least.nanousd
    return held if enough else None


def _room(path: Path, run: str | None) -> tuple[int | None, int | None]:
    """Return the least free of the token budgets and of the money budgets; ``None``: there is none."""
    quota = min((budget.free for budget in path.periods), default=None)
    if path.pool is not None:
        available = path.pool.available(run)
        quota = available if quota is None else min(quota, available)
    return quota, min((budget.free for budget in path.money), default=None)
