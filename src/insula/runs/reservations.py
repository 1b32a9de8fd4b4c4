"""A run's part of its tenant's token budget: set aside when it starts, given back however it ends."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

from insula.governance.ledger import Exhausted, Full, Ledgers
from insula.kernel.ids import AgentName, RunId, TenantId

RUN_TTL_US = 31 * 86_400_000_000
"""Longer than any run: reservations are closed with their run, this only bounds what a defect could leave."""


@dataclass(frozen=True, slots=True)
class Reserved:
    """Tokens set aside; ``None`` for a tenant without a token budget."""

    tokens: int | None


@dataclass(frozen=True, slots=True)
class Shortage:
    """Nothing could be set aside. ``exhausted``: no run that ends can help, only a new period can."""

    exhausted: bool
    reason: str
    hint: str


class Reservations(Protocol):
    """What runs ask of the tenants' token ledgers. None of it blocks."""

    def open(
        self, tenant: TenantId, run: RunId, agent: AgentName, attempt: int, tokens: int | None
    ) -> Reserved | Shortage:
        """Set tokens aside for a start of a run: ``tokens``, or by default what such runs used before."""
        ...

    def close(self, tenant: TenantId, run: RunId) -> int | None:
        """Give back what is left; return what was used, ``None`` if nothing was counted. May come twice."""
        ...

    def learn(self, tenant: TenantId, agent: AgentName, tokens: int) -> None:
        """Take in what a run that succeeded used."""
        ...

    def keep_only(self, runs: Collection[RunId]) -> None:
        """Close the reservations of all other runs: they ended while no platform was there."""
        ...


class NoReservations:
    """For a platform without token budgets: everything is granted, nothing is counted."""

    def open(self, *_asked: object) -> Reserved:
        return Reserved(None)

    def close(self, *_ended: object) -> None:
        return None

    def learn(self, *_used: object) -> None:
        """There is nothing to learn for."""

    def keep_only(self, _runs: Collection[RunId]) -> None:
        """There is nothing to close."""


class LedgerReservations:
    """Over the ledgers of this process. A run's reservation has the run's id; calls draw on it by that."""

    def __init__(self, ledgers: Ledgers) -> None:
        self._ledgers = ledgers

    def open(
        self, tenant: TenantId, run: RunId, agent: AgentName, attempt: int, tokens: int | None
    ) -> Reserved | Shortage:
        if not self._ledgers.has(tenant):
            return Reserved(None)
        want, least = self._ledgers.want(tenant, agent)
        if tokens is not None:
            want, least = tokens, -(-tokens // 10)
        answer = self._ledgers.open(tenant, run, agent, want, least, seq=attempt, ttl_us=RUN_TTL_US)
        if isinstance(answer, Exhausted):
            return _exhausted(answer)
        if isinstance(answer, Full):
            return _full(answer)
        return Reserved(getattr(answer, "granted", None))

    def close(self, tenant: TenantId, run: RunId) -> int | None:
        closed = self._ledgers.close(tenant, run, with_children=True)
        return closed.used if closed is not None else None

    def learn(self, tenant: TenantId, agent: AgentName, tokens: int) -> None:
        self._ledgers.learn(tenant, agent, tokens)

    def keep_only(self, runs: Collection[RunId]) -> None:
        self._ledgers.keep_only(runs)


def _exhausted(answer: Exhausted) -> Shortage:
    return Shortage(
        True,
        f"the tenant's token budget is used up: {answer.settled} of {answer.limit} tokens, and the run needs"
        f" {answer.asked}",
        "submit the run again in the next period, or raise the tenant's token budget",
    )


def _full(answer: Full) -> Shortage:
    return Shortage(
        False,
        f"what is left of the tenant's token budget is held by its running work: {answer.reserved} tokens set"
        f" aside by runs, {answer.held} by calls; the run needs {answer.asked}",
        "wait until some of it has ended, or raise the tenant's token budget",
    )
