"""What a level may use, and on which terms."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Final, Protocol, Self

from insula.kernel.errors import InvalidRequest
from insula.kernel.money import NANO_USD, nanousd, usd

BOUNDS: Final[Mapping[str, tuple[int, int]]] = {
    "rpm": (1, 10**9),
    "rpm_burst": (1, 10**9),
    "tpm": (1, 10**12),
    "tpm_burst": (1, 10**12),
    "input_tpm": (1, 10**12),
    "input_tpm_burst": (1, 10**12),
    "output_tpm": (1, 10**12),
    "output_tpm_burst": (1, 10**12),
    "in_flight": (1, 10**6),
    "tokens_per_day": (1, 10**15),
    "tokens_per_month": (1, 10**15),
    "nanousd_per_day": (1, 10**9 * NANO_USD),
    "nanousd_per_month": (1, 10**9 * NANO_USD),
    "overdraft_tokens": (0, 10**15),
    "debt_percent": (0, 1_000),
    "queue_wait_s": (0, 3_600),
}
"""The least and the largest figure each field takes; whoever means more means no limit."""

RATES: Final = ("rpm", "tpm", "input_tpm", "output_tpm")
MONEY: Final = ("usd_per_day", "usd_per_month")


class Preset(Protocol):
    """The figures a tier comes with."""

    @property
    def rpm(self) -> int | None: ...
    @property
    def rpm_burst(self) -> int | None: ...
    @property
    def tpm(self) -> int | None: ...
    @property
    def tpm_burst(self) -> int | None: ...
    @property
    def in_flight(self) -> int | None: ...
    @property
    def strict_estimates(self) -> bool: ...
    @property
    def debt_percent(self) -> int: ...
    @property
    def queue_wait_s(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one level; ``None`` means unlimited, or unsaid.

    Rates: ``rpm`` requests, ``tpm`` quota tokens (burndown applied), ``input_tpm`` and ``output_tpm`` their
    two sides, each per minute. A burst is how much may be used at once after a pause; by default one
    minute's worth. In every window of *t* minutes a level uses at most ``burst + t * limit``, and what
    calls used beyond their estimates, which is a debt that refill repays.

    Budgets: ``tokens_per_day``, ``tokens_per_month`` (quota tokens), ``nanousd_per_day``,
    ``nanousd_per_month``, each by the UTC calendar. They are never passed. ``overdraft_tokens`` is how far
    calls may go below a budget of tokens, and so is part of it.

    ``in_flight`` calls at once. Terms: ``strict`` estimates reserve all of ``max_tokens``;
    ``debt_percent`` of the burst is borne as debt before the level is held to strict estimates;
    ``queue_wait_s`` is how long a call may wait at most for a quota, if its caller lets it wait.

    Raises ``InvalidRequest`` naming the field, its problem and the fix.
    """

    rpm: int | None = None
    tpm: int | None = None
    in_flight: int | None = None
    rpm_burst: int | None = None
    tpm_burst: int | None = None
    input_tpm: int | None = None
    output_tpm: int | None = None
    input_tpm_burst: int | None = None
    output_tpm_burst: int | None = None
    tokens_per_day: int | None = None
    tokens_per_month: int | None = None
    nanousd_per_day: int | None = None
    nanousd_per_month: int | None = None
    overdraft_tokens: int | None = None
    strict: bool | None = None
    debt_percent: int | None = None
    queue_wait_s: int | None = None

    def __post_init__(self) -> None:
        for name, (least, most) in BOUNDS.items():
            _check(name, getattr(self, name), least, most)
        if self.strict is not None and not isinstance(self.strict, bool):
            raise InvalidRequest(
                f"strict is {str(self.strict)[:60]!r}", hint="use true or false", field="strict"
            )
        for name in RATES:
            if getattr(self, name) is None and getattr(self, f"{name}_burst") is not None:
                raise InvalidRequest(
                    f"{name}_burst is set but {name} is not",
                    hint=f"set {name} too, or leave {name}_burst out",
                    field=f"{name}_burst",
                )

    @classmethod
    def parse(cls, given: Mapping[str, Any]) -> Self:
        """Return limits from outside data. Raises ``InvalidRequest``, also for a field nobody knows."""
        return cls(**_known(given))

    @classmethod
    def from_preset(cls, preset: Preset) -> Self:
        """Return a tier's figures as limits.

        A burst of 0 means none: requests come one at a time, evenly spaced. Tokens cannot be spaced like
        that, because one call uses many: there it means the default, one minute's worth.
        """
        return cls(
            rpm=preset.rpm,
            tpm=preset.tpm,
            in_flight=preset.in_flight,
            rpm_burst=None if preset.rpm is None else preset.rpm_burst or 1,
            tpm_burst=None if preset.tpm is None else preset.tpm_burst or None,
            strict=preset.strict_estimates,
            debt_percent=preset.debt_percent,
            queue_wait_s=preset.queue_wait_s,
        )

    def changed(self, given: Mapping[str, Any]) -> Self:
        """Return these limits with some fields replaced.

        A burst belongs to its limit: whoever changes ``tpm`` without naming ``tpm_burst`` gets the
        default burst, not the old one, which may be larger than the new limit was meant to allow.
        """
        changes = _known(given)
        for name in RATES:
            if name in changes:
                changes.setdefault(f"{name}_burst", None)
        return replace(self, **changes)

    @property
    def budgeted(self) -> bool:
        """Whether a calendar budget is set."""
        return any(getattr(self, name) is not None for name in _BUDGETS)

    def as_dict(self) -> dict[str, int | bool | None]:
        """Return every field by name, money in nano-dollars."""
        return {name: getattr(self, name) for name in FIELDS}

    def shown(self) -> dict[str, int | bool | str | None]:
        """Return every field by the name that people use, money as exact decimals of dollars."""
        found: dict[str, int | bool | str | None] = {}
        for name, value in self.as_dict().items():
            if name.startswith("nanousd"):
                found[name.removeprefix("nano")] = None if value is None else usd(int(value))
            else:
                found[name] = value
        return found


FIELDS: Final = tuple(field.name for field in fields(Limits))
SHOWN: Final = tuple(name.removeprefix("nano") for name in FIELDS)
"""The fields as people write them: money is ``usd_per_day`` and ``usd_per_month``."""

_BUDGETS = ("tokens_per_day", "tokens_per_month", "nanousd_per_day", "nanousd_per_month")


def _known(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of ``given``; dollars become nano-dollars."""
    known: dict[str, Any] = {}
    for name, value in given.items():
        if name in MONEY:
            known[f"nano{name}"] = None if value is None else _dollars(name, value)
        elif name in FIELDS:
            known[name] = value
        else:
            shown = str(name)[:60]
            near = difflib.get_close_matches(str(name), SHOWN, n=1)
            hint = f"did you mean {near[0]}?" if near else f"the fields are {', '.join(SHOWN)}"
            raise InvalidRequest(f"there is no limit called {shown!r}", hint=hint, field=shown)
    return known


def _dollars(name: str, value: object) -> int:
    nano = nanousd(value, name)
    if nano < 1:
        raise InvalidRequest(
            f"{name} is {str(value)[:60]}; it must be above 0",
            hint="suspend the tenant to stop it, or leave the field out for no limit",
            field=name,
        )
    return nano


def _check(name: str, value: object, least: int, most: int) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidRequest(
            f"{name} is {str(value)[:60]!r}, not a whole number",
            hint=f"give a whole number from {least} to {most}, or leave it out for no limit",
            field=name,
        )
    if value < least:
        fix = f"give a whole number from {least} to {most}"
        if value == 0:
            fix = "suspend the tenant to stop it"
        raise InvalidRequest(f"{name} is {_short(value)}; the least is {least}", hint=fix, field=name)
    if value > most:
        raise InvalidRequest(
            f"{name} is {_short(value)}; the most is {most}",
            hint="leave it out for no limit",
            field=name,
        )


def _short(value: int) -> str:
    """Return ``value`` in digits, or its size when the digits would fill a page."""
    return str(value) if value.bit_length() < 100 else f"a number of {value.bit_length()} bits"


UNLIMITED = Limits()
