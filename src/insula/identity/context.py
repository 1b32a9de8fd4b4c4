"""The verified context: proof that a signed claim was checked, for one audience, a moment ago.

Functions of tenant-owned resources take one of these and never a bare tenant id. Only the verifier can make
one. An instance has no fields of its own: what it says is looked up, by the identity of the object, in a
table that lives in a closure. So an object made by ``object.__new__``, a copy, an unpickled twin or a
subclass says nothing: reading it is an ``IsolationBreach``. This guards against mistakes and against code
that merely holds data; code that runs in the platform's own process with the will to reach into its memory
is outside the threat model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Never, TypeAlias, TypeVar

from insula.identity.audience import Audience
from insula.kernel.errors import Denied, IsolationBreach
from insula.kernel.ids import RunId, TenantId

A = TypeVar("A", bound=Audience)
Construct: TypeAlias = "Callable[[Facts], VerifiedContext[Any]]"


@dataclass(frozen=True, slots=True)
class Facts:
    """What a verified token says. Worth nothing without the context that carries it."""

    tenant: TenantId
    subject: str
    run: RunId | None
    audience: type[Audience]
    expires_at: float
    jti: str
    token_hash: str
    epoch: int


def _table() -> tuple[Callable[[Any], Facts], Callable[[Any], None], Callable[[], Construct]]:
    """Return (read, forget, claim) over one table that nothing else can reach."""
    table: dict[int, Facts] = {}
    unclaimed = [True]

    def read(context: Any) -> Facts:
        facts = table.get(id(context))
        if facts is None:
            raise IsolationBreach("a context that no verifier made was used")
        return facts

    def forget(context: Any) -> None:
        table.pop(id(context), None)

    def construct(facts: Facts) -> VerifiedContext[Any]:
        context: VerifiedContext[Any] = object.__new__(VerifiedContext)
        table[id(context)] = facts
        return context

    def claim() -> Construct:
        if not unclaimed:
            raise IsolationBreach("the constructor of contexts was already handed to the verifier")
        unclaimed.clear()
        return construct

    return read, forget, claim


_read, _forget, claim_constructor = _table()
"""The constructor is handed out exactly once: to the verifier, when this room is first imported."""


class VerifiedContext(Generic[A]):
    """Who is asking, verified for audience ``A``.

    Immutable; cannot be built, copied, pickled or subclassed.
    """

    __slots__ = ("__weakref__",)

    def __new__(cls, *_args: Any, **_kwargs: Any) -> VerifiedContext[A]:
        raise IsolationBreach("only a verifier makes a context")

    def __init_subclass__(cls, **_kwargs: Any) -> None:
        raise TypeError("VerifiedContext cannot be subclassed")

    def __del__(self, _forget: Callable[[Any], None] = _forget) -> None:
        _forget(self)

    @property
    def tenant(self) -> TenantId:
        return _read(self).tenant

    @property
    def subject(self) -> str:
        """``spiffe://insula/t/<tenant>/<path>``."""
        return _read(self).subject

    @property
    def run(self) -> RunId | None:
        return _read(self).run

    @property
    def audience(self) -> type[Audience]:
        return _read(self).audience

    @property
    def expires_at(self) -> float:
        """Seconds since the epoch."""
        return _read(self).expires_at

    @property
    def jti(self) -> str:
        return _read(self).jti

    @property
    def token_hash(self) -> str:
        """SHA-256 of the token, hex: names it in records without being it."""
        return _read(self).token_hash

    @property
    def epoch(self) -> int:
        """The tenant's epoch when the token was minted."""
        return _read(self).epoch

    def __setattr__(self, name: str, value: object) -> Never:
        raise IsolationBreach(f"a context is immutable: {name}")

    def __delattr__(self, name: str) -> Never:
        raise IsolationBreach(f"a context is immutable: {name}")

    def __copy__(self) -> Never:
        raise IsolationBreach("a context cannot be copied")

    def __deepcopy__(self, _memo: object) -> Never:
        raise IsolationBreach("a context cannot be copied")

    def __reduce_ex__(self, _protocol: object) -> Never:
        raise IsolationBreach("a context cannot be pickled")

    def __repr__(self) -> str:
        facts = _read(self)
        return f"<VerifiedContext {facts.audience.name} {facts.subject}>"


def require(context: VerifiedContext[A], audience: type[A], now: float) -> TenantId:
    """Return the tenant of ``context``, if it is genuine, meant for ``audience`` and not expired at ``now``.

    The runtime half of what the types promise, for the doors of a room. Raises ``IsolationBreach`` for an
    object that no verifier made, ``Denied`` for another audience or an expired context.
    """
    if type(context) is not VerifiedContext:
        raise IsolationBreach("something that is not a verified context was used as one")
    facts = _read(context)
    if facts.audience is not audience:
        raise Denied(f"this context is for {facts.audience.name}, not {audience.name}", rule="audience")
    if now >= facts.expires_at:
        raise Denied("this context has expired", hint="verify a fresh token", rule="expired")
    return facts.tenant
