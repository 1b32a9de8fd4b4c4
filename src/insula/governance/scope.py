"""Whose limits a call meets: the platform, the tenant, the application, the agent."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from insula.identity import Gateway, VerifiedContext

PLATFORM = "*"
"""Key of the level above all tenants. No tenant can be called that."""


@dataclass(frozen=True, slots=True)
class Scope:
    """The path of levels that one caller's requests pass, made from its verified context.

    An agent that belongs to no application is one by itself: ``tenant/agent/agent``. ``key`` names the
    innermost level: ``tenant``, ``tenant/app`` or ``tenant/app/agent``.
    """

    tenant: str
    app: str | None = None
    agent: str | None = None
    key: str = field(init=False, compare=False)

    def __post_init__(self) -> None:
        if self.app is None and self.agent is not None:
            object.__setattr__(self, "app", self.agent)
        parts = (part for part in (self.tenant, self.app, self.agent) if part is not None)
        object.__setattr__(self, "key", "/".join(parts))

    @classmethod
    def of(cls, ctx: VerifiedContext[Gateway], app: str | None = None, agent: str | None = None) -> Self:
        """Return the scope of a verified caller, narrowed to one of its applications or agents if given.

        Raises ``IsolationBreach`` if no verifier made ``ctx``.
        """
        return cls(ctx.tenant, app, agent)

    @property
    def learning(self) -> str:
        """Whose calls resemble each other: the application, or the tenant where there is none."""
        return self.tenant if self.app is None else f"{self.tenant}/{self.app}"

    def levels(self) -> tuple[tuple[str, str], ...]:
        """Return ``(name, key)`` of each level, outermost first."""
        outer = (("platform", PLATFORM), ("tenant", self.tenant))
        if self.app is None:
            return outer
        app = (*outer, ("application", f"{self.tenant}/{self.app}"))
        return app if self.agent is None else (*app, ("agent", self.key))
