"""Fairness as a figure, kept while the queue runs. A constant number of additions for each event."""

from __future__ import annotations

from collections.abc import Callable

from insula.governance.fairness.account import Account
from insula.governance.fairness.histogram import Histogram
from insula.governance.fairness.item import Item, Slip
from insula.governance.fairness.lane import Lane
from insula.governance.fairness.race import Race
from insula.governance.fairness.tenant import Tenant

_PAST = 4096
_BATCH = Lane.BATCH


class Meter:
    """Figures of one queue: who waits, who received what, how far apart the counters were.

    What each tenant is entitled to is found as in a fluid fair server: each unit of service raises
    ``_entitlement`` by 1 / (sum of the weights of those who wait), and a tenant's part of what it raised
    while it waited is its weight times that.

    The accounts of tenants that are gone are kept for the latest 4,096 of them.
    """

    def __init__(self, label_of: Callable[[str], str]) -> None:
        self._label_of = label_of
        self._past: dict[str, Account] = {}
        self._backlogged = 0
        self._weights = 0.0
        self._service = 0
        self._entitlement = 0.0
        self._peak: Tenant | None = None
        self.waiting: dict[tuple[str, str], Histogram] = {}
        self.dispatches = 0
        self.largest = 0
        self.over = 0
        self.under = 0
        self.gap = 0
        self.now_us = 0

    def account(self, name: str) -> Account:
        """Return the account of a tenant that is seen for the first time, or again."""
        account = self._past.pop(name, None)
        if account is None:
            return Account()
        account.interactive_waits = account.batch_waits = None  # its label may be another by now
        return account

    def part(self, tenant: Tenant) -> None:
        """Keep the account of a tenant that is about to be forgotten."""
        past = self._past
        past[tenant.name] = tenant.account
        if len(past) > _PAST:
            del past[next(iter(past))]

    def accounts(self, race: Race[Tenant]) -> dict[str, Account]:
        """Return all accounts that are kept, brought up to date."""
        present = {tenant.name: tenant.account for tenant in race}
        for account in present.values():
            if account.at_us is not None:
                self._close(account)
                self._open(account)
        return self._past | present

    def multiply(self, race: Race[Tenant], factor: int) -> None:
        """Count in units that are smaller by ``factor``."""
        self.largest *= factor
        self.over *= factor
        self.under *= factor
        self.gap *= factor
        for account in (*self._past.values(), *(tenant.account for tenant in race)):
            account.gap *= factor
            account.worst_over *= factor
            account.worst_under *= factor

    def joins(self, tenant: Tenant) -> None:
        """Note that a tenant waits from now on."""
        account = tenant.account
        account.weight = float(tenant.weight.value)
        self._backlogged += 1
        self._weights += account.weight
        self._open(account)

    def leaves(self, tenant: Tenant) -> None:
        """Note that a tenant does not wait any more."""
        account = tenant.account
        self._close(account)
        self._backlogged -= 1
        self._weights = self._weights - account.weight if self._backlogged else 0.0
        if self._peak is tenant:
            self._peak = None

    def served(self, tenant: Tenant, slip: Slip, cost: int, units: int) -> None:
        """Note a dispatch, charged ``cost``; that is ``units`` on the tenant's counter."""
        account = tenant.account
        self.dispatches += 1
        account.dispatches += 1
        waits = account.batch_waits if slip.item.lane is _BATCH else account.interactive_waits
        (waits or self._waits(account, slip.item)).add(self.now_us - slip.since_us)
        if units > self.largest:
            self.largest = units
        if tenant.in_flight > account.most_in_flight:
            account.most_in_flight = tenant.in_flight
        self._service += cost
        self._entitlement += cost / self._weights
        account.service += cost

    def corrected(self, tenant: Tenant, cost: int) -> None:
        """Note that what was charged before changed by ``cost``."""
        account = tenant.account
        account.service += cost
        self._service += cost
        if self._backlogged:
            self._entitlement += cost / self._weights

    def erred(self, tenant: Tenant, units: int) -> None:
        """Note by how much an estimate was exceeded; negative when it was too high."""
        account = tenant.account
        if units > account.worst_over:
            account.worst_over = units
        elif -units > account.worst_under:
            account.worst_under = -units
        self.over = max(self.over, account.worst_over * account.most_in_flight)
        self.under = max(self.under, account.worst_under * account.most_in_flight)

    def compare(self, tenant: Tenant, floor: Tenant | None) -> None:
        """Measure a tenant whose counter moved against the lowest and the highest of those who wait."""
        if floor is None:
            return
        account, lowest, counter = tenant.account, floor.counter, tenant.counter
        if counter - lowest > account.gap:
            account.gap = counter - lowest
            self.gap = max(self.gap, account.gap)
        peak = self._peak
        if peak is None or counter > peak.counter:
            if tenant.entry is None:
                return
            self._peak = peak = tenant
        if peak.counter - lowest > floor.account.gap:
            floor.account.gap = peak.counter - lowest
            self.gap = max(self.gap, floor.account.gap)

    def _waits(self, account: Account, item: Item) -> Histogram:
        """Return where waiting times of a tenant's lane are counted, and remember it."""
        key = (self._label_of(item.tenant), item.lane.value)
        histogram = self.waiting.setdefault(key, Histogram())
        if item.lane is _BATCH:
            account.batch_waits = histogram
        else:
            account.interactive_waits = histogram
        return histogram

    def _open(self, account: Account) -> None:
        account.at_us = self.now_us
        account.at_service = account.service
        account.at_total = self._service
        account.at_entitlement = self._entitlement

    def _close(self, account: Account) -> None:
        assert account.at_us is not None
        account.backlogged_us += max(0, self.now_us - account.at_us)
        account.received += account.service - account.at_service
        account.offered += self._service - account.at_total
        account.entitled += account.weight * (self._entitlement - account.at_entitlement)
        account.at_us = None
