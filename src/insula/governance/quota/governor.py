"""The governor: reserves before a call, follows it, settles after it, on every level at once.

Synchronous and in process: one event loop owns it, a decision never waits, so no lock is needed and
no other decision can come between the check and the hold.
"""

from __future__ import annotations

from collections.abc import Callable

from insula.governance.quota.bucket import UNIT
from insula.governance.quota.grant import Expiry, Grant
from insula.governance.quota.level import Level, Path
from insula.governance.quota.limits import Limits
from insula.governance.quota.refusal import explain
from insula.governance.quota.standing import Standing, tightest
from insula.governance.scope import Scope

_REMEMBER_US = 3_600_000_000
_REMEMBERED = 100_000


class Governor:
    """Limits of all levels, and the reservations that are running.

    ``clock_us`` returns monotonic microseconds. ``limits_for`` returns the limits of a level that is
    met for the first time (``PLATFORM``, ``tenant``, ``tenant/agent``); ``set_limits`` changes them later.

    A level costs memory only while it is in use: ``expire`` forgets those that are as good as new.
    """

    def __init__(
        self,
        clock_us: Callable[[], int],
        limits_for: Callable[[str], Limits],
        *,
        on_expiry: Expiry = Expiry.INPUT_ONLY,
    ) -> None:
        self._clock_us = clock_us
        self._limits_for = limits_for
        self._on_expiry = on_expiry
        self._levels: dict[str, Level] = {}
        self._paths: dict[str, Path] = {}
        self._set: dict[str, Limits] = {}
        self._live: dict[str, Grant] = {}
        self._expired: dict[str, Grant] = {}
        self._soonest_us = 0

    def reserve(
        self,
        scope: Scope,
        rid: str,
        requests: int = 1,
        tokens: int = 0,
        ttl_s: float = 600.0,
        *,
        input_tokens: int = 0,
    ) -> Grant:
        """Hold ``requests`` and ``tokens`` (an estimate of the whole call) on every level, or on none.

        The same ``rid`` again returns the first grant. ``input_tokens`` is the part of ``tokens`` that is
        charged if nobody settles within ``ttl_s``. Raises ``RateLimited`` (waiting helps: ``retry_after_s``;
        ``details`` carry ``level``, ``limit``, ``kind``) or ``ExceedsLimit`` (waiting cannot help).
        A refusal changes nothing.
        """
        known = self._live.get(rid)
        if known is not None:
            return known
        assert requests >= 0 and 0 <= input_tokens <= tokens
        now = self._clock_us()
        path = self._paths.get(scope.key) or self._path(scope, now)
        if not _fits(path, requests * UNIT, tokens * UNIT, now):
            self._refuse_unless_expiry_helps(path, requests, tokens, now)
        grant = Grant(rid, path, requests, tokens, input_tokens, now, int(ttl_s * 1_000_000))
        grant.hold(now)
        self._live[rid] = grant
        if self._expired:
            self._expired.pop(rid, None)
        if grant.expires_us < self._soonest_us:
            self._soonest_us = grant.expires_us
        return grant

    def sent(self, rid: str) -> None:
        """Note that the request went upstream: it counts now, and is not given back."""
        grant = self._live.get(rid)
        if grant is not None:
            grant.send(self._clock_us())

    def progress(self, rid: str, tokens: int) -> None:
        """Note that the call has used ``tokens`` so far, input included (cumulative; less is ignored)."""
        grant = self._live.get(rid)
        if grant is not None:
            now = self._clock_us()
            grant.send(now)
            grant.progress(tokens, now)

    def settle(self, rid: str, tokens: int) -> int:
        """End the call at ``tokens`` in all (cumulative). Return the tokens debited by this settle.

        A second settle does nothing and returns 0. After an expiry, what the call used beyond the charge
        is debited, once.
        """
        grant = self._live.pop(rid, None)
        if grant is None:
            return self._settle_late(rid, tokens)
        now = self._clock_us()
        before = grant.used
        if grant.unsent:
            grant.send(now)
        grant.progress(tokens, now)
        grant.release()
        grant.path.observe_hold(now - grant.reserved_us)
        return grant.used - before

    def cancel(self, rid: str) -> None:
        """Give the reservation back: a request that was never sent costs nothing."""
        grant = self._live.pop(rid, None)
        if grant is not None:
            grant.release()

    def expire(self, now_us: int | None = None) -> tuple[str, ...]:
        """End the reservations whose time is up; return their ids. Also forget idle levels.

        Called about once a second, traffic or not.
        """
        now = self._clock_us() if now_us is None else now_us
        due = self._expire_due(now)
        self._forget_expired(now)
        self._forget_idle(now)
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
        is new.
        """
        if limits is None:
            self._set.pop(key, None)
            limits = self._limits_for(key)
        else:
            self._set[key] = limits
        level = self._levels.get(key)
        if level is None:
            return
        added = level.apply(limits, self._clock_us())
        for path in self._paths.values():
            if level in path.levels:
                path.rebuild()
        for grant in self._live.values():
            if level in grant.path.levels:
                for measure, bucket in added:
                    grant.adopt(measure, bucket)

    def standing(self, scope: Scope) -> Standing:
        """Return the tightest request and token limits of a scope, for the response headers."""
        now = self._clock_us()
        path = self._paths.get(scope.key) or self._path(scope, now)
        return Standing(tightest(path.requests, now), tightest(path.tokens, now))

    def in_flight(self) -> int:
        """Return how many reservations are running."""
        return len(self._live)

    def _path(self, scope: Scope, now: int) -> Path:
        levels = tuple(self._level(name, key, now) for name, key in scope.levels())
        path = self._paths[scope.key] = Path(levels)
        return path

    def _level(self, name: str, key: str, now: int) -> Level:
        level = self._levels.get(key)
        if level is None:
            level = self._levels[key] = Level(name, key, self.limits(key), now)
        return level

    def _refuse_unless_expiry_helps(self, path: Path, requests: int, tokens: int, now: int) -> None:
        """Raise the refusal, unless reservations that are overdue were all that stood in the way."""
        if self._live and now >= self._soonest_us:
            self._expire_due(now)
            if _fits(path, requests * UNIT, tokens * UNIT, now):
                return
        raise explain(path, requests, tokens, now).error()

    def _expire_due(self, now: int) -> tuple[str, ...]:
        if not self._live or now < self._soonest_us:
            return ()
        due = [grant for grant in self._live.values() if grant.expires_us <= now]
        for grant in due:
            del self._live[grant.rid]
            grant.expire(self._on_expiry, now)
            self._expired[grant.rid] = grant
        self._soonest_us = min((grant.expires_us for grant in self._live.values()), default=0)
        return tuple(grant.rid for grant in due)

    def _settle_late(self, rid: str, tokens: int) -> int:
        grant = self._expired.pop(rid, None)
        if grant is None:
            return 0
        before = grant.used
        grant.progress(tokens, self._clock_us())
        return grant.used - before

    def _forget_expired(self, now: int) -> None:
        """Keep expired reservations for an hour, and never more than a bounded number of them."""
        for rid in list(self._expired):
            old = self._expired[rid].expires_us + _REMEMBER_US <= now
            if not old and len(self._expired) <= _REMEMBERED:
                return
            del self._expired[rid]

    def _forget_idle(self, now: int) -> None:
        """Drop levels that are as good as new; one that returns starts as full as it would have been."""
        idle = {key for key, level in self._levels.items() if level.idle(now)}
        used = {level.key for grant in self._live.values() for level in grant.path.levels}
        used |= {level.key for grant in self._expired.values() for level in grant.path.levels}
        gone = idle - used
        if not gone:
            return
        for key in gone:
            del self._levels[key]
        for scope, path in list(self._paths.items()):
            if any(level.key in gone for level in path.levels):
                del self._paths[scope]


def _fits(path: Path, requests: int, tokens: int, now: int) -> bool:
    """Whether every bucket has the ticks free. Reads only."""
    for bucket in path.requests:
        if bucket.free(now) < requests:
            return False
    for bucket in path.tokens:
        if bucket.free(now) < tokens:
            return False
    return all(bucket.free(now) >= UNIT for bucket in path.slots)
