"""Policies that an operator wrote, in the control database, compiled in memory for the hot path."""

from __future__ import annotations

from sqlalchemy import Column, Float, Integer, MetaData, String, Table, delete, select
from sqlalchemy.dialects.sqlite import insert

from insula.governance.policy import Held, Mode, Policy, PolicySet, compile_expression
from insula.kernel.clock import Clock
from insula.kernel.errors import NotFound
from insula.storage import ControlDatabase

_METADATA = MetaData()
_POLICIES = Table(
    "policies",
    _METADATA,
    Column("scope", String, primary_key=True),
    Column("name", String, primary_key=True),
    Column("expression", String, nullable=False),
    Column("mode", String, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("version", Integer, nullable=False),
)


class SqlPolicies:
    """``held`` is what calls are judged by: it changes after the database did, in one step."""

    def __init__(self, control: ControlDatabase, clock: Clock) -> None:
        self._control = control
        self._clock = clock
        self.held = PolicySet()
        control.create(_METADATA)
        with control.read() as connection:
            rows = connection.execute(select(_POLICIES)).mappings().all()
        for row in rows:
            self.held.put(Held.of(Policy(**{**row, "mode": Mode(row["mode"])})))

    def put(self, scope: str, name: str, expression: str, mode: Mode) -> Policy:
        """Check, keep and use a policy; durable on return. The same again changes nothing.

        Raises ``InvalidRequest`` for what does not pass ``compile_expression``, or beyond a level's bound.
        """
        compiled = compile_expression(expression)
        self.held.must_fit(scope, name)
        before = self.held.get(scope, name)
        if before is not None and (before.policy.expression, before.policy.mode) == (expression, mode):
            return before.policy
        version = 1 if before is None else before.policy.version + 1
        policy = Policy(scope, name, expression, mode, self._clock.now(), version)
        values = {
            "expression": expression,
            "mode": mode.value,
            "created_at": policy.created_at,
            "version": version,
        }
        statement = insert(_POLICIES).values(scope=scope, name=name, **values)
        with self._control.begin() as connection:
            connection.execute(statement.on_conflict_do_update(index_elements=["scope", "name"], set_=values))
        self.held.put(Held(policy, compiled))
        return policy

    def get(self, scope: str, name: str) -> Held:
        """Return one policy with its counts. Raises ``NotFound``."""
        found = self.held.get(scope, name)
        if found is None:
            raise NotFound(
                f"there is no policy {name[:60]!r} here", hint="insula policy list shows them", field="name"
            )
        return found

    def delete(self, scope: str, name: str) -> None:
        """Remove a policy. Raises ``NotFound``."""
        self.get(scope, name)
        with self._control.begin() as connection:
            connection.execute(delete(_POLICIES).where(_POLICIES.c.scope == scope, _POLICIES.c.name == name))
        self.held.remove(scope, name)

    def drop(self, tenant: str) -> None:
        """Forget the policies of a tenant and its applications."""
        gone = {
            one.policy.scope
            for one in self.held
            if one.policy.scope == tenant or one.policy.scope.startswith(f"{tenant}/")
        }
        with self._control.begin() as connection:
            connection.execute(delete(_POLICIES).where(_POLICIES.c.scope.in_(gone)))
        for scope in gone:
            for one in self.held.at(scope):
                self.held.remove(scope, one.policy.name)
