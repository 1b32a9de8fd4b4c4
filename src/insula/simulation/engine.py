"""One simulation: a workload, a machine, a policy, and everything that must hold while it runs."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from insula.governance import PLATFORM, Governor, Limits
from insula.governance.quota.pool import Pool
from insula.simulation import faults as fault
from insula.simulation import policies
from insula.simulation.admission import Admission
from insula.simulation.checks import Books, Gap, LimitChecks, OrderChecks, Violations
from insula.simulation.driver import Driver
from insula.simulation.endpoint import Endpoint
from insula.simulation.faults import Faults
from insula.simulation.ledgers import Ledgers
from insula.simulation.measure import Measures
from insula.simulation.policies import Policy
from insula.simulation.rate import RateGate
from insula.simulation.service import Service
from insula.simulation.station import Fits, Start, Station
from insula.simulation.timeline import GatewayClock, Timeline
from insula.simulation.work import SECOND_US, Workload

MINUTE_US = 60 * SECOND_US
MakeGovernor = Callable[[GatewayClock, Callable[[str], Limits], Callable[[str], Pool | None]], Governor]


def governor(
    clock: GatewayClock, limits_for: Callable[[str], Limits], pool_of: Callable[[str], Pool | None]
) -> Governor:
    """Return a governor as the platform sets it up."""
    return Governor(clock, limits_for, pool_of=pool_of)


@dataclass(frozen=True, slots=True)
class Setup:
    """What a simulation is made of. The two ``make`` are what is under test; tests put broken ones in.

    ``learned``: outputs are estimated from earlier calls, as the gateway does; otherwise they are known.
    ``rpm`` is the limit of the policy that has no fair queue; ``None`` is twice an equal share.
    """

    workload: Workload
    service: Service
    seed: int
    faults: Faults = fault.NONE
    donation: bool = True
    learned: bool = True
    rpm: int | None = None
    make_queue: policies.MakeQueue = policies.fair_queue
    make_governor: MakeGovernor = governor


@dataclass(slots=True)
class Outcome:
    """What happened under one policy."""

    policy: Policy
    measures: Measures
    violations: Violations
    gap: Gap
    books: Books
    overshoot_ticks: int
    overrun_tokens: int
    duplicates: int
    donated: int
    rpm: int | None = None
    sandbox_gap: Gap | None = None


def simulate(setup: Setup, policy: Policy) -> Outcome:
    """Run a workload under one policy until everything has ended. The same arguments, the same outcome."""
    return _Simulation(setup, policy).run()


class _Simulation:
    """The parts, wired."""

    def __init__(self, setup: Setup, policy: Policy) -> None:
        self._setup, self._policy = setup, policy
        self._rng = random.Random(f"faults/{setup.seed}")  # noqa: S311 - replayable on purpose
        self._timeline = Timeline()
        self._clock = GatewayClock(self._timeline)
        self._violations = Violations()
        self._measures = Measures(setup.workload.horizon_us)
        self._weights = {name: tenant.weight for name, tenant in setup.workload.tenants.items()}
        self._books = Books(self._violations)
        self._gaps: list[Gap] = []
        self._ledgers = Ledgers(
            setup.workload.tenants, self._clock, self._violations, donation=setup.donation
        )
        self._limits = LimitChecks(self._violations, self._limits_for)
        self._rpm = (setup.rpm or equal_rpm(setup)) if policy.gated else None
        self._endpoint = self._make_endpoint()
        self._driver = self._make_driver()

    def run(self) -> Outcome:
        for run in self._setup.workload.runs:
            self._timeline.at(run.at_us, self._driver.arrive, run)
        self._plan_faults()
        self._timeline.run()
        self._endpoint.admission.close()
        used: Counter[str] = Counter()
        for usage in self._books.events():
            used[usage.tenant] += usage.tokens
        self._ledgers.settle_up(used)
        return self._outcome()

    def _outcome(self) -> Outcome:
        gap, sandbox_gap = self._gaps
        if self._policy.fair:
            for one in (gap, sandbox_gap):
                bound = one.bound()
                self._violations.check(
                    "Q1", one.worst <= bound, "gap {} above its bound {}", one.worst, bound
                )
                told = "a tenant that waited got {} less than its share, more than {}"
                self._violations.check("D4", one.shortfall <= bound, told, one.shortfall, bound)
        return Outcome(
            self._policy,
            self._measures,
            self._violations,
            gap,
            self._books,
            self._limits.overshoot,
            self._limits.overrun_tokens,
            self._books.duplicates,
            self._ledgers.donated(),
            self._rpm,
            sandbox_gap,
        )

    def _make_endpoint(self) -> Endpoint:
        setup = self._setup
        endpoint = Endpoint(
            self._timeline,
            self._clock,
            setup.service,
            policies.cost(self._policy, setup.service),
            setup.faults,
            self._rng,
            self._measures,
            learned=setup.learned,
        )
        endpoint.admission = Admission(
            setup.make_governor(self._clock, self._limits_for, self._ledgers.pool_of),
            self._limits,
            self._books,
            self._violations,
            self._clock,
            setup.service,
            self._ledgers,
            endpoint.expired,
        )
        endpoint.station = self._station("endpoint", setup.service.slots, endpoint.start, endpoint.fits)
        return endpoint

    def _make_driver(self) -> Driver:
        submit = self._endpoint.submit
        if self._rpm is not None:
            submit = RateGate(
                self._rpm,
                self._clock,
                self._timeline,
                self._violations,
                self._measures,
                self._endpoint.submit,
            ).submit
        driver = Driver(self._timeline, self._measures, submit, self._ledgers)
        driver.sandboxes = self._station("sandboxes", self._setup.service.sandboxes, driver.start, None)
        return driver

    def _station(self, name: str, slots: int, start: Start, fits: Fits | None) -> Station:
        policy = self._policy
        gap = Gap(self._weights, policies.SKIP_BUDGET, self._timeline.now)
        self._gaps.append(gap)
        return Station(
            name,
            slots,
            policies.order(policy, self._weights, self._setup.make_queue),
            self._clock,
            self._violations,
            gap,
            OrderChecks(self._violations, policies.BATCH_AGE_US) if policy.fair else None,
            start,
            fits,
        )

    def _limits_for(self, key: str) -> Limits:
        """The platform's limit is what its slots can read at most; tenants have their tier's limits."""
        service = self._setup.service
        if key == PLATFORM:
            tpm = max(1, service.slots * MINUTE_US // service.input_us)
            return Limits(tpm=tpm, in_flight=service.slots)
        tenant = self._setup.workload.tenants.get(key)
        if tenant is None:
            return Limits()
        return Limits(
            rpm=tenant.rpm, tpm=tenant.tpm, tpm_burst=tenant.tpm_burst, tokens_per_day=tenant.period_tokens
        )

    def _plan_faults(self) -> None:
        """Plan crashes and jumps for as long as work arrives."""
        faults, end_us = self._setup.faults, self._setup.workload.horizon_us
        for at_us in range(faults.crash_us, end_us, faults.crash_us) if faults.crash_us else ():
            self._timeline.at(at_us, self._endpoint.crash)
        for at_us in range(faults.jump_us, end_us, faults.jump_us) if faults.jump_us else ():
            by_us = self._rng.randint(-faults.jump_by_us, faults.jump_by_us)
            self._timeline.at(at_us, self._clock.jump, by_us)


def equal_rpm(setup: Setup) -> int:
    """Return twice the requests a minute that every tenant would get of an equal split, at least 1."""
    steps = [step for run in setup.workload.runs for step in run.steps]
    if not steps:
        return 1
    mean_us = sum(map(setup.service.duration_us, steps)) // len(steps)
    per_minute = setup.service.slots * MINUTE_US // mean_us
    return max(1, round(2 * per_minute / max(1, len(setup.workload.tenants))))
