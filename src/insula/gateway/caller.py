"""Who is calling: decided by the door that was used, or by a virtual key. Verified anew on every request."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from insula.governance import Scope
from insula.governance.fairness import Lane
from insula.identity import (
    Authority,
    Credentials,
    Gateway,
    Principal,
    RenewingToken,
    VerifiedContext,
    Verifier,
)
from insula.kernel.clock import Clock
from insula.kernel.errors import Denied, Unauthenticated

_KEYS_KEPT = 10_000
_APPS_KEPT = 64


@dataclass(frozen=True, slots=True)
class Identity:
    """A verified caller, with what its requests need again and again.

    An agent belongs to the application it was deployed for, whether it calls through a door or by a key of
    its own, and a key may be bound to an application. Any other key is the tenant's: its holder may say which
    application calls.
    """

    context: VerifiedContext[Gateway]
    tenant: str
    scope: Scope
    run: str | None
    subject: str
    models: frozenset[str] | None  # the agent's own list; ``None``: no agent, no list
    bound: bool = False
    lane: Lane = Lane.INTERACTIVE  # of calls that name none
    _scopes: dict[str, Scope] = field(default_factory=dict, repr=False, compare=False)

    @property
    def agent(self) -> str | None:
        return self.scope.agent

    def within(self, app: str | None) -> Scope:
        """Return the scope of a request that names an application. Raises ``Denied`` for a foreign one."""
        if app is None or app == self.scope.app:
            return self.scope
        if self.bound:
            raise Denied(
                f"this caller belongs to the application {self.scope.app}, not to {app}",
                hint="leave x-insula-app out",
                field="x-insula-app",
                rule="app.bound",
            )
        known = self._scopes.get(app)
        if known is None:
            if len(self._scopes) >= _APPS_KEPT:
                self._scopes.clear()
            known = self._scopes[app] = Scope.of(self.context, app, self.scope.agent)
        return known


class Caller(Protocol):
    """Tells who sent a request."""

    def identify(self, headers: dict[bytes, bytes]) -> Identity:
        """Return the caller. Raises ``Unauthenticated`` or ``Denied``."""
        ...


def _identity(
    context: VerifiedContext[Gateway],
    app: str | None,
    agent: str | None,
    models: frozenset[str] | None,
    *,
    bound: bool,
    lane: Lane = Lane.INTERACTIVE,
) -> Identity:
    scope = Scope.of(context, app, agent)
    return Identity(context, context.tenant, scope, context.run, context.subject, models, bound, lane)


class DoorCaller:
    """The caller behind a door. What its requests carry as credentials is not even looked at."""

    def __init__(
        self,
        verifier: Verifier[Gateway],
        credential: Callable[[], str],
        agent: str,
        models: frozenset[str],
        app: str | None = None,
        lane: Lane = Lane.INTERACTIVE,
    ) -> None:
        self._verifier = verifier
        self._credential = credential
        self._lane = lane
        self._agent = agent
        self._app = app
        self._models = models
        self._known: Identity | None = None

    def identify(self, headers: dict[bytes, bytes]) -> Identity:
        context = self._verifier.verify(self._credential())
        known = self._known
        if known is None or known.context is not context:
            known = self._known = _identity(
                context, self._app, self._agent, self._models, bound=True, lane=self._lane
            )
        return known


class Deployed(NamedTuple):
    """The application that an agent was deployed for, if for one, and the models it may use."""

    app: str | None
    models: frozenset[str]


@dataclass(slots=True)
class _KnownKey:
    principal: Principal
    token: RenewingToken
    identity: Identity | None = field(default=None)


class KeyCaller:
    """Callers that hold a virtual key.

    ``agent_of(tenant, agent)`` tells what a key that is bound to an agent must know of it.
    """

    def __init__(
        self,
        verifier: Verifier[Gateway],
        authority: Authority,
        credentials: Credentials,
        clock: Clock,
        agent_of: Callable[[str, str], Deployed],
    ) -> None:
        self._verifier = verifier
        self._authority = authority
        self._resolve = credentials.resolve
        self._clock = clock
        self._agent_of = agent_of
        self._known: dict[str, _KnownKey] = {}

    def identify(self, headers: dict[bytes, bytes]) -> Identity:
        principal = self._resolve(presented(headers))
        known = self._known.get(principal.id)
        if known is None or known.principal is not principal:
            known = self._remember(principal)
        context = self._verifier.verify(known.token())
        identity = known.identity
        if identity is None or identity.context is not context:
            identity = known.identity = self._identity(context, principal)
        return identity

    def _identity(self, context: VerifiedContext[Gateway], principal: Principal) -> Identity:
        agent = principal.agent
        if agent is None:
            return _identity(context, principal.app, None, None, bound=principal.app is not None)
        app, models = self._agent_of(context.tenant, agent)
        return _identity(context, app, agent, models, bound=True)

    def _remember(self, principal: Principal) -> _KnownKey:
        if principal.kind != "key" or principal.tenant is None:
            raise Denied(
                "this credential does not call models",
                hint="create a virtual key: insula key create TENANT",
                rule="scope:models:use",
            )
        principal.require("models:use")
        token = RenewingToken(self._authority, self._clock, principal.tenant, principal.path, Gateway)
        while len(self._known) >= _KEYS_KEPT:
            del self._known[next(iter(self._known))]
        known = self._known[principal.id] = _KnownKey(principal, token)
        return known


def presented(headers: dict[bytes, bytes]) -> str:
    """Return the key that a request carries. Raises ``Unauthenticated`` if there is none."""
    bearer = headers.get(b"authorization")
    if bearer is not None:
        scheme, _, secret = bearer.partition(b" ")
        if scheme.lower() == b"bearer" and secret:
            return secret.strip().decode("latin-1")
    key = headers.get(b"x-api-key")
    if key:
        return key.decode("latin-1")
    raise Unauthenticated(
        "no API key was sent", hint="send Authorization: Bearer ins_vk_… (insula key create TENANT)"
    )
