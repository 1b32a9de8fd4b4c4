"""The platform: settings become parts, parts become one thing that starts, drains and stops."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading

import structlog
from prometheus_client import CollectorRegistry, ProcessCollector

from insula.audit import PLATFORM as AUDIT_PLATFORM
from insula.bundles import BundleStore
from insula.gateway import (
    DataPlane,
    Deployed,
    Doors,
    KeyCaller,
    Parts,
    Policing,
    PublicListener,
    RefusalLog,
    Refused,
    Turnstiles,
)
from insula.governance import Estimator
from insula.governance.adapters.policies import SqlPolicies
from insula.governance.burndown import Burn
from insula.governance.burndown import load as load_burndown
from insula.governance.fairness.metrics import FairnessMetrics
from insula.governance.ledger import keep_ledgers
from insula.governance.policy.metrics import PolicyMetrics
from insula.identity import Gateway
from insula.kernel.clock import Clock, SystemClock
from insula.kernel.errors import InsulaError, NotFound
from insula.kernel.ids import AgentName, TenantId
from insula.models import Catalog, Endpoint, Entitlements, Upstreams
from insula.models.adapters.sql import SqlModels
from insula.models.providers.local import LocalModel
from insula.runs import Drafts, RunParts, RunService
from insula.runs.reservations import LedgerReservations
from insula.runtimes import RuntimeStore, compile_pid1
from insula.sandbox import Sandboxes
from insula.settings import Settings
from insula.telemetry import Telemetry
from insula.usage import (
    Burning,
    Chargeback,
    Outbox,
    PriceBook,
    Reconciliation,
    Recorder,
    Rerating,
    UnderWay,
    UsageReports,
)
from insula.usage.adapters.checking import SqlAccounts
from insula.usage.adapters.costs import SqlCosts
from insula.usage.adapters.sql import SqlBooks
from insula.usage.own_prices import load_prices
from insula.wiring.governing import Governing
from insula.wiring.ground import lay
from insula.wiring.launching import Launcher
from insula.wiring.tenants import Tenants

_log = structlog.get_logger()
_CALLS_GRACE_S = 5.0


class Platform:
    """Every part by name. ``start``, ``drain`` and ``stop`` belong to one event loop.

    ``api_url`` is set by whoever serves the control plane; ``gateway_url`` is known after ``start``.
    """

    def __init__(self, settings: Settings, clock: Clock | None = None) -> None:
        self.settings = settings
        self.clock = clock or SystemClock()
        self.api_url = ""
        self.gateway_url = ""
        self.ready = False
        self._background: list[asyncio.Task[None]] = []
        self._local: LocalModel | None = None
        self._build_ground()
        self._build_governance()
        self._build_data_plane()
        self._build_runs()

    def _build_ground(self) -> None:
        self.ground = ground = lay(self.settings, self.clock)
        self.control, self.audit, self.registry = ground.control, ground.audit, ground.registry
        self.keyring, self.spaces, self.secrets = ground.keyring, ground.spaces, ground.secrets
        self.authority, self.credentials = ground.authority, ground.credentials
        self.bundles = BundleStore()
        self.runtimes = RuntimeStore(ground.home / "runtimes", self.settings.cache / "runtimes")

    def _build_governance(self) -> None:
        self.estimator = Estimator()
        self.books = books = SqlBooks(self.control)
        self.telemetry = Telemetry.to(self.settings.otlp_traces, self.settings.otlp_metrics)
        self.recorder = Recorder(Outbox(self.ground.home / "usage"), books, observe=self.telemetry.observe)
        self.under_way = UnderWay(self.ground.home / "usage")
        self.usage_reports = UsageReports(self.recorder, books, self.clock)
        own = load_prices(self.settings.prices)
        self.prices = PriceBook(self.clock, own)
        self.rerating = Rerating(self.recorder, books, PriceBook(self.clock, own), self.clock)
        self.policies = SqlPolicies(self.control, self.clock)
        self.governing = Governing(
            self.control,
            self.registry,
            self.clock,
            load_burndown(self.settings.burndown, _warn_of_burndown),
            self.policies.held,
            self.recorder,
            books,
            self.ground.home.root,
            self.settings.limits_store,
            self.settings.gateways,
        )
        self.chargeback = Chargeback(self.recorder, books, SqlCosts(self.control), self.clock)
        rates = Burning(self.governing.burndown).rates
        self.reconciliation = Reconciliation(self.recorder, SqlAccounts(self.control), rates)

    def _build_data_plane(self) -> None:
        models = SqlModels(self.control)
        self.catalog = Catalog(models, self.secrets)
        self.entitlements = Entitlements(models)
        self.catalog.watch(self._warm_prices)
        self.upstreams = Upstreams(self.catalog, lambda name: self.secrets.get(name).reveal())
        self.turnstiles = Turnstiles(
            self.clock, self.governing.weight, self.governing.tier, self.governing.queues.__setitem__
        )
        self.plane = DataPlane(
            Parts(
                clock=self.clock,
                limits=self.governing.limits,
                estimator=self.estimator,
                recorder=self.recorder,
                prices=self.prices,
                catalog=self.catalog,
                entitlements=self.entitlements,
                upstreams=self.upstreams,
                refusals=RefusalLog(self._audit_refusal),
                burn=self.governing.burn,
                lanes=self.governing.lanes,
                turnstiles=self.turnstiles,
                under_way=self.under_way,
                ledgers=self.governing.ledgers,
                policing=Policing(self.governing.policies, self.governing.limits, self.governing.about),
            )
        )
        verifier = self.authority.verifier(Gateway)
        self.doors = Doors(self.ground.home / "run", verifier, self.plane)
        keys = KeyCaller(verifier, self.authority, self.credentials, self.clock, self._agent_of)
        self.listener = PublicListener(self.plane, keys, self.settings.host, self.settings.gateway_port)

    def _build_runs(self) -> None:
        uids = range(self.settings.uid_first, self.settings.uid_last + 1)
        self.sandboxes = Sandboxes(self.clock, uids)
        self.runs = RunService(
            RunParts(
                authority=self.authority,
                registry=self.registry,
                control=self.control,
                spaces=self.spaces,
                draw=Drafts(self.registry, self.bundles, self.runtimes).draw,
                launch=Launcher(self.sandboxes, compile_pid1(self.ground.home / "run")).launch,
                doors=self.doors,
                run_total=self.usage_reports.run_total,
                clock=self.clock,
                durable_path=self.ground.home / "durable.db",
                slots=self.settings.slots,
                turns=self.governing.sandbox_queue,
                weight=self.governing.weight,
                lanes=self.governing.lanes,
                ended=self.telemetry.ended,
                reservations=LedgerReservations(self.governing.ledgers),
            )
        )
        self.metrics = CollectorRegistry()
        self.metrics.register(self.plane.metrics)
        self.metrics.register(PolicyMetrics(self.policies.held))
        self.metrics.register(FairnessMetrics(self.governing.fairness))
        ProcessCollector(registry=self.metrics)
        self.tenants = Tenants(
            self.ground,
            self.governing.set_limits,
            self.governing.set_weights,
            self.policies,
            self.entitlements,
            self.governing.ledgers,
            self.runs,
        )

    async def start(self) -> None:
        """Start every part, lowest first. Raises ``InsulaError``, or ``OSError`` if a port is taken."""
        await asyncio.to_thread(self._prepare)
        await self.recorder.start()
        await asyncio.to_thread(self._recover_calls)
        await self.governing.start()
        await self.sandboxes.start()
        await self._start_local_model()
        await self.listener.start()
        self.gateway_url = self.listener.url
        self.governing.follow_tiers()
        self.governing.ledgers.tell_freed(self._tokens_came_free)
        self._background.append(asyncio.create_task(self.governing.keep_sweeping(), name="sweeper"))
        self._background.append(asyncio.create_task(keep_ledgers(self.governing.ledgers), name="ledgers"))
        await self.runs.start()
        _settle_memory()
        self.ready = True

    async def drain(self) -> None:
        """Admit nothing new and let what runs come to its end, for at most ``drain_s`` seconds."""
        self.ready = False
        await self.runs.drain(self.settings.drain_s)
        await self.listener.stop()
        await self.plane.drain(min(self.settings.drain_s, _CALLS_GRACE_S))

    async def stop(self) -> None:
        """Stop every part, highest first. Safe after a start that failed half-way."""
        self.ready = False
        await self.runs.stop()
        await self.listener.stop()
        await self.doors.close()
        await self.plane.stop()
        await self.sandboxes.stop()
        if self._local is not None:
            await self._local.stop()
        for task in self._background:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await self.recorder.stop()
        self.under_way.close()
        await self.governing.stop()
        await asyncio.to_thread(self.telemetry.stop)
        await asyncio.to_thread(self.ground.close)

    def _prepare(self) -> None:
        self.tenants.mend()
        if self.catalog.endpoints():
            self.prices.warm()
        try:
            self.runtimes.ensure_shipped()
        except InsulaError as error:
            _log.warning("runtimes_not_built", reason=error.message, hint=error.hint)

    def _tokens_came_free(self, tenant: str) -> None:
        """Calls that wait for their tenant's tokens may try again, once the ledger is done."""
        asyncio.get_running_loop().call_soon(self.turnstiles.poke, tenant)

    def _recover_calls(self) -> None:
        """Bill the calls that a platform left under way when it died."""
        left = self.under_way.recover(self.clock.now())
        fresh = self.books.add(left) if left else 0
        if fresh:
            _log.warning("calls_recovered", calls=fresh)
        self.under_way.begin()

    async def _start_local_model(self) -> None:
        if not self.settings.local_model:
            return
        self._local = LocalModel(
            self.settings.cache / "models", self._attach_local, self.catalog.detach_local
        )
        await self._local.start()

    def _attach_local(self, endpoint: Endpoint, key: str) -> None:
        self.catalog.attach_local(endpoint)
        self.upstreams.attach(endpoint, key)

    def _warm_prices(self, _endpoint: str) -> None:
        """Read the price list before the first call needs it; a platform without endpoints never does."""
        if self.ready:
            threading.Thread(target=self.prices.warm, name="prices", daemon=True).start()

    def _agent_of(self, tenant: str, agent: str) -> Deployed:
        """Return what a key of an agent must know of it; one that is not deployed may use no model."""
        try:
            found = self.registry.get_agent(TenantId(tenant), AgentName(agent))
        except NotFound:
            return Deployed(None, frozenset())
        return Deployed(found.manifest.get("app"), frozenset(found.models))

    def _audit_refusal(self, refused: Refused) -> None:
        self.audit.append(
            refused.tenant or AUDIT_PLATFORM,
            "call.refused",
            outcome="refused",
            actor=refused.actor,
            target=refused.target,
            durable=False,
            rule=refused.rule,
            times=refused.times,
        )


def _warn_of_burndown(burn: Burn) -> None:
    _log.warning("burndown_assumed", version=burn.version, problem=burn.warning)


def _settle_memory() -> None:
    """What is here by now stays: spare the collector from walking it, and from walking every few calls."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
