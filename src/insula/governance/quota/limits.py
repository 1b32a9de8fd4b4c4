"""What a level may use: requests and tokens per minute, bursts, calls in flight."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Protocol, Self

from insula.kernel.errors import InvalidRequest

MAXIMUM = {
    "rpm": 10**9,
    "rpm_burst": 10**9,
    "tpm": 10**12,
    "tpm_burst": 10**12,
    "in_flight": 10**6,
}
"""The largest figure each field takes; whoever means more means no limit."""


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


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one level; ``None`` means unlimited.

    ``rpm`` requests per minute, ``tpm`` tokens per minute, ``in_flight`` calls at once. A burst is how
    much may be used at once after a pause; by default one minute's worth. In every window of *t* minutes
    a level uses at most ``burst + t * limit``.

    Raises ``InvalidRequest`` naming the field, its problem and the fix.
    """

    rpm: int | None = None
    tpm: int | None = None
    in_flight: int | None = None
    rpm_burst: int | None = None
    tpm_burst: int | None = None

    def __post_init__(self) -> None:
        for name, maximum in MAXIMUM.items():
            _check(name, getattr(self, name), maximum)
        for name in ("rpm", "tpm"):
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
        )

    def changed(self, given: Mapping[str, Any]) -> Self:
        """Return these limits with some fields replaced.

        A burst belongs to its limit: whoever changes ``tpm`` without naming ``tpm_burst`` gets the
        default burst, not the old one, which may be larger than the new limit was meant to allow.
        """
        changes = _known(given)
        for name in ("rpm", "tpm"):
            if name in changes:
                changes.setdefault(f"{name}_burst", None)
        return replace(self, **changes)

    def as_dict(self) -> dict[str, int | None]:
        """Return the five fields by name."""
        return asdict(self)


_FIELDS = tuple(field.name for field in fields(Limits))


def _known(given: Mapping[str, Any]) -> dict[str, Any]:
    for name in given:
        if name not in _FIELDS:
            near = difflib.get_close_matches(str(name), _FIELDS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"the fields are {', '.join(_FIELDS)}"
            raise InvalidRequest(
                f"there is no limit called {str(name)[:60]!r}", hint=hint, field=str(name)[:60]
            )
    return dict(given)


def _check(name: str, value: object, maximum: int) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidRequest(
            f"{name} is {str(value)[:60]!r}, not a whole number",
            hint=f"give a whole number from 1 to {maximum}, or leave it out for no limit",
            field=name,
        )
    if value < 1:
        fix = "suspend the tenant to stop it" if value == 0 else f"give a whole number from 1 to {maximum}"
        raise InvalidRequest(f"{name} is {_short(value)}; the least is 1", hint=fix, field=name)
    if value > maximum:
        raise InvalidRequest(
            f"{name} is {_short(value)}; the most is {maximum}",
            hint="leave it out for no limit",
            field=name,
        )


def _short(value: int) -> str:
    """Return ``value`` in digits, or its size when the digits would fill a page."""
    return str(value) if value.bit_length() < 100 else f"a number of {value.bit_length()} bits"


UNLIMITED = Limits()
