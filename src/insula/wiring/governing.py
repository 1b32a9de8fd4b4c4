"""How limits, burndown, policies and weights come together for the gateway."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, date, datetime
from fractions import Fraction
from pathlib import Path

import structlog

from insula.governance import PLATFORM, UNIT, UNLIMITED, Governor, Limits
from insula.governance.adapters.sql import SqlLimits
from insula.governance.adapters.weights import SqlWeights
from insula.governance.burndown import Burn, Burndown, place_of
from insula.governance.fairness import FairnessOverview, FairQueue
from insula.governance.fairness.overview import Lent
from insula.governance.ledger import Budget, Ledgers, TenantPool
from insula.governance.policy import Held, PolicySet
from insula.governance.stores.build import build_store
from insula.kernel.clock import Clock
from insula.kernel.errors import NotFound
from insula.kernel.ids import TenantId
from insula.models import Endpoint, Kind
from insula.storage import ControlDatabase
from insula.tenancy import Registry, Tenant, TenantState, preset
from insula.usage import Recorder
from insula.usage.adapters.sql import SqlBooks
from insula.wiring.metering import Metering, Records, name_of

_log = structlog.get_logger()
_SWEEP_S = 1.0
_DAY_S = 86_400


class Governing:
    """Who may use how much, at which rates, in which order. Belongs to the event loop that serves calls."""

    def __init__(
        self,
        control: ControlDatabase,
        registry: Registry,
        clock: Clock,
        burndown: Burndown,
        policies: PolicySet,
        recorder: Recorder,
        books: SqlBooks,
        home: Path,
        limits_store: str | None = None,
        gateways: int = 1,
    ) -> None:
        self.set_limits = SqlLimits(control)
        self.set_weights = SqlWeights(control)
        self.burndown = burndown
        self.policies = policies
        self.queues: dict[str, FairQueue] = {}
        self.sandbox_queue = FairQueue(label_of=self.tier)
        self.fairness = FairnessOverview(self.queues, self.sandbox_queue)
        self._registry = registry
        self.records = Records(recorder, books)
        self.clock = clock
        self._looked_at = clock.now()
        self._today: tuple[int, date] = (0, date.min)
        self._places: dict[str, tuple[str, str]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self.limits = build_store(
            limits_store, clock=clock, limits_for=self.limits_for, metered=self._metered, pool_of=self._pool,
            gateways=gateways, books=self.records.this_month, on_debt=_warn_of_debt, remember=home,
        )  # fmt: skip
        self.governor = self.limits if isinstance(self.limits, Governor) else None
        self.metering = Metering(self.governor, self.records, clock) if self.governor else None
        self.ledgers = Ledgers(home / "ledgers", clock, self.token_budget)
        self.fairness.lent = self._lent

    # what the gateway asks

    def burn(self, endpoint: Endpoint, model: str) -> Burn:
        """Return the burndown of a model at its endpoint, as it is in force today (UTC)."""
        place = self._places.get(endpoint.base_url)
        if place is None:
            place = self._places[endpoint.base_url] = _place(endpoint)
        return self.burndown.find(*place, model, self._day())

    def lanes(self, tenant: str) -> tuple[str, ...]:
        """Return the lanes of a tenant's tier."""
        return self._registry.profile(TenantId(tenant)).lanes

    def tier(self, tenant: str) -> str:
        """Return a tenant's tier; nothing for one that is gone."""
        try:
            return self._registry.profile(TenantId(tenant)).tier.value
        except NotFound:
            return ""

    def about(self, tenant: str) -> tuple[str, tuple[str, ...]]:
        """Return a tenant's tier and tags, as policies see them."""
        return self.tier(tenant), ()

    def weight(self, tenant: str) -> int | Fraction:
        """Return a tenant's weight: what was set for it, else its tier's."""
        held = self.set_weights.get(tenant)
        if held is not None:
            return held
        try:
            return preset(self._registry.profile(TenantId(tenant)).tier, self._day()).weight
        except NotFound:
            return 1

    # limits

    def limits_for(self, level: str) -> Limits:
        """Return the limits of a level: what was set for it, or what the tenant's tier says."""
        held = self.set_limits.get(level, self.clock.now())
        if held is not None:
            return held
        if level == PLATFORM or "/" in level:
            return UNLIMITED
        return Limits.from_preset(preset(self._registry.profile(TenantId(level)).tier, self._day()))

    async def change(self, level: str, limits: Limits, effective_from: float | None = None) -> None:
        """Write limits down, from a moment on; from now on they hold at once.

        A level that gets its first budget is told what it used before: what the books hold up to this
        moment, and what was counted here since.
        """
        now = self.clock.now()
        await asyncio.to_thread(self.set_limits.put, level, limits, effective_from or now)
        if effective_from is not None and effective_from > now:
            return
        await self._put_in_force(level, limits)

    def change_weight(self, tenant: str, weight: Fraction) -> None:
        """Write a tenant's weight down; it holds from the next charge on. May be called from any thread."""
        self.set_weights.put(tenant, weight)
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._reweigh, tenant)

    async def follow_policies(self) -> None:
        """Count what policies read from now on, and know what was used before."""
        if self.metering is not None:
            await self.metering.begin(self._policed(), everybody=self._policed_everywhere)

    async def start(self) -> None:
        """Know what every level with a budget or a policy used this month. Before the first call."""
        if not isinstance(self.limits, Governor):
            await self.limits.start()
            self.limits.recall(await self.records.ended_lately(self.clock.now()))
        if self.metering is None:
            return
        budgeted = set(self.set_limits.budgeted(self.clock.now()))
        levels = budgeted | self._policed()
        await self.metering.begin(levels, everybody=self._policed_everywhere)
        for level in budgeted:
            self._align_ledger(level)

    async def stop(self) -> None:
        """Let the store hear what it does not know yet; write the ledgers down."""
        if not isinstance(self.limits, Governor):
            await self.limits.stop()
        await asyncio.to_thread(self.ledgers.stop)

    async def keep_sweeping(self) -> None:
        """Expire overdue reservations and put dated limits in force, until cancelled."""
        while True:
            await asyncio.sleep(_SWEEP_S)
            for rid in self.governor.expire() if self.governor else ():
                _log.warning("reservation_expired", rid=rid)
            now = self.clock.now()
            for level in self.set_limits.changing(self._looked_at, now):
                limits = self.set_limits.get(level, now)
                if limits is not None:
                    await self._put_in_force(level, limits)
            self._looked_at = now

    def follow_tiers(self) -> None:
        """A change of tier changes limits: on the loop, which alone may touch the governor."""
        loop = self._loop = asyncio.get_running_loop()

        def changed(tenant: Tenant) -> None:
            if tenant.state is not TenantState.DELETED:
                loop.call_soon_threadsafe(self._reset, tenant.id)

        self._registry.subscribe(changed)

    # inside

    def _reset(self, tenant: str) -> None:
        with contextlib.suppress(NotFound):
            self.limits.set_limits(tenant, self.set_limits.get(tenant, self.clock.now()))
        self._reweigh(tenant)

    def _reweigh(self, tenant: str) -> None:
        for queue in (*self.queues.values(), self.sandbox_queue):
            queue.weigh(tenant, self.weight(tenant))

    async def _put_in_force(self, level: str, limits: Limits) -> None:
        if self.metering is not None and limits.budgeted and not self.limits.limits(level).budgeted:
            await self.metering.begin((level,))
        if name_of(level) == "tenant":
            self.ledgers.changed(level)
            self._align_ledger(level)
        self.limits.set_limits(level, limits)

    def token_budget(self, tenant: str) -> Budget | None:
        """Return the token budget that a tenant's runs share: of its month, or else of its day.

        A ledger divides it in one process. Gateways that share limits hold to the budget as a whole.
        """
        if self.governor is None:
            return None
        try:
            limits = self.limits_for(tenant)
        except NotFound:
            return None
        overdraft = limits.overdraft_tokens or 0
        if limits.tokens_per_month is not None:
            return Budget(limits.tokens_per_month, "month", overdraft)
        if limits.tokens_per_day is not None:
            return Budget(limits.tokens_per_day, "day", overdraft)
        return None

    def _pool(self, tenant: str) -> TenantPool | None:
        return TenantPool(self.ledgers, tenant) if self.ledgers.has(tenant) else None

    def _align_ledger(self, tenant: str) -> None:
        """What the usage records say was used is what the ledger counts as settled."""
        budget = None if "/" in tenant or tenant == PLATFORM else self.token_budget(tenant)
        if budget is not None:
            self.ledgers.align(tenant, self.limits.used(tenant, budget.window).quota)

    def _lent(self) -> Lent:
        totals = self.ledgers.totals()
        levels = self.governor.levels() if self.governor else ()
        debts = (-bucket.level for level in levels for bucket in level.buckets.values())
        return Lent(
            donated_tokens=totals.donated,
            reclaimed_tokens=totals.reclaimed,
            debt_tokens=sum(debt for debt in debts if debt > 0) // UNIT,
            held_tokens=totals.held,
            fail_open_seconds=0.0 if isinstance(self.limits, Governor) else self.limits.fail_open_s,
        )

    def _metered(self, level: str) -> bool:
        return bool(self.policies) and (
            level in self._policed() or (self._policed_everywhere and "/" not in level)
        )

    def _policed(self) -> set[str]:
        """Return the tenants whose use policies of their own, or of their applications, read."""
        levels = {held.policy.scope for held in self.policies if _reads_usage(held)}
        return {level.partition("/")[0] for level in levels if level != PLATFORM}

    @property
    def _policed_everywhere(self) -> bool:
        return any(_reads_usage(held) for held in self.policies.at(PLATFORM))

    def _day(self) -> date:
        number = int(self.clock.now()) // _DAY_S
        if self._today[0] != number:
            self._today = (number, datetime.fromtimestamp(number * _DAY_S, UTC).date())
        return self._today[1]


def _reads_usage(held: Held) -> bool:
    reads = held.compiled.reads if held.compiled is not None else ()
    return any(path.startswith("usage.") for path in reads)


def _warn_of_debt(level: str, tokens: int) -> None:
    _log.warning("level_overdrawn", level=level, tokens=tokens, effect="strict estimates until repaid")


def _place(endpoint: Endpoint) -> tuple[str, str]:
    """Return provider and kind of an endpoint; at a host nobody knows, its wire format stands for both."""
    if endpoint.kind is Kind.LOCAL:
        return "local", "*"
    provider, kind = place_of(endpoint.base_url)
    return (str(endpoint.kind), "*") if provider == "unknown" else (provider, kind)
