"""Metering: what was used, what it costs, and that every book says the same to the unit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from insula.simulation.checks.violations import Violations

INPUT_NANO, CACHED_NANO, OUTPUT_NANO = 250, 25, 2_000
"""Price of a token in billionths of a dollar. Integers: totals are exact."""


@dataclass(frozen=True, slots=True)
class Usage:
    """One usage event. ``partial`` if the end of the call is not known."""

    id: str
    tenant: str
    prompt: int
    cached: int
    output: int
    partial: bool = False

    @property
    def tokens(self) -> int:
        """Quota tokens: input and output, each counted once."""
        return self.prompt + self.output

    @property
    def cost_nanousd(self) -> int:
        """The price of the call; cached input is counted once, at its own price."""
        fresh = self.prompt - self.cached
        return fresh * INPUT_NANO + self.cached * CACHED_NANO + self.output * OUTPUT_NANO


class Books:
    """Takes usage events in, at least once each and in any order; the totals are as if exactly once."""

    def __init__(self, violations: Violations) -> None:
        self._violations = violations
        self._events: dict[str, Usage] = {}
        self._debits: Counter[str] = Counter()
        self._by_tenant: Counter[str] = Counter()
        self.duplicates = 0

    def debited(self, call: str, tokens: int) -> None:
        """Note what the limits took for a call."""
        self._debits[call] += tokens

    def record(self, usage: Usage) -> None:
        """Take in an event; one for the same call replaces a partial one, and is dropped otherwise."""
        known = self._events.get(usage.id)
        if known is not None and (usage.partial or not known.partial):
            self.duplicates += 1
            return
        self._violations.check(
            "M1", 0 <= usage.cached <= usage.prompt, "{} cached more than it read", usage.id
        )
        self._by_tenant[usage.tenant] += usage.cost_nanousd - (known.cost_nanousd if known else 0)
        self._events[usage.id] = usage

    def events(self) -> Iterable[Usage]:
        """Return the event that counts for each call."""
        return self._events.values()

    def close(self) -> None:
        """Compare the books: debit = event for every call, invoices = sum of events."""
        for call, usage in self._events.items():
            debit = self._debits[call]
            self._violations.check(
                "C2", debit == usage.tokens, "{} debited {}, used {}", call, debit, usage.tokens
            )
        unknown = sum(1 for call, debit in self._debits.items() if debit and call not in self._events)
        self._violations.check("C2", unknown == 0, "{} calls were debited and never recorded", unknown)
        total = sum(usage.cost_nanousd for usage in self._events.values())
        invoiced = sum(self._by_tenant.values())
        self._violations.check("M4", total == invoiced, "events cost {}, invoices say {}", total, invoiced)

    @property
    def cost_nanousd(self) -> int:
        """What all calls cost."""
        return sum(self._by_tenant.values())

    @property
    def tokens(self) -> int:
        """What all calls used."""
        return sum(usage.tokens for usage in self._events.values())
