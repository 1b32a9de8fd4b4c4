"""Whose limits a call meets: the platform, the tenant, the agent."""

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

    ``key`` names the innermost level: ``tenant`` or ``tenant/agent``.
    """

    tenant: str
    agent: str | None = None
    key: str = field(init=False, compare=False)

    def __post_init__(self) -> None:
        key = self.tenant if self.agent is None else f"{self.tenant}/{self.agent}"
        object.__setattr__(self, "key", key)

    @classmethod
    def of(cls, ctx: VerifiedContext[Gateway], agent: str | None = None) -> Self:
        """Return the scope of a verified caller, narrowed to one of its agents if given.

        Raises ``IsolationBreach`` if no verifier made ``ctx``.
        """
        return cls(ctx.tenant, agent)

    def levels(self) -> tuple[tuple[str, str], ...]:
        """Return ``(name, key)`` of each level, outermost first."""
        outer = (("platform", PLATFORM), ("tenant", self.tenant))
        return outer if self.agent is None else (*outer, ("agent", self.key))
