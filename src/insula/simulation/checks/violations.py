"""What did not hold, counted by property, with the first few told."""

from __future__ import annotations

from collections import Counter

_TOLD = 5


class Violations:
    """How often each property was checked, and how often it did not hold.

    Properties carry the letters of the specification: P limits, Q queue, D dominant resources, L ledger,
    M metering, C all together.
    """

    def __init__(self) -> None:
        self.checked: Counter[str] = Counter()
        self.broken: Counter[str] = Counter()
        self._told: dict[str, list[str]] = {}

    def check(self, name: str, held: bool, told: str, *facts: object) -> None:
        """Count one check; ``told`` (formatted with ``facts``) says what happened if it did not hold."""
        self.checked[name] += 1
        if not held:
            self.broken[name] += 1
            examples = self._told.setdefault(name, [])
            if len(examples) < _TOLD:
                examples.append(told.format(*facts))

    def as_list(self) -> list[dict[str, object]]:
        """Return each broken property with its count and examples, by name."""
        return [
            {"property": name, "count": self.broken[name], "examples": self._told[name]}
            for name in sorted(self.broken)
        ]
