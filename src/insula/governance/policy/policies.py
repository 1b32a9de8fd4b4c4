"""All policies, by level, compiled: asked before each call, without I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from insula.governance.policy import engine
from insula.governance.policy.decision import ALLOWED, Decision, Said, Verdict, combine
from insula.governance.policy.facts import Facts, Unfit, read
from insula.governance.policy.lowering import flat
from insula.governance.policy.policy import Compiled, Mode, Policy, compile_expression
from insula.governance.policy.shadow import Tally
from insula.governance.scope import PLATFORM
from insula.kernel.errors import InsulaError, InvalidRequest

MOST_PER_LEVEL = 16
_REMEMBERED = 4_096


@dataclass(frozen=True, slots=True)
class Held:
    """A policy that is in force or in shadow. ``broken`` says why it no longer compiles; it then denies."""

    policy: Policy
    compiled: Compiled | None
    broken: str = ""
    tally: Tally = field(default_factory=Tally)

    @classmethod
    def of(cls, policy: Policy) -> Held:
        """Compile what was stored. What an older version accepted and this one does not fails closed."""
        try:
            return cls(policy, compile_expression(policy.expression))
        except InvalidRequest as error:
            return cls(policy, None, error.message)


class Plan(NamedTuple):
    """What a path of levels asks: its policies, outermost first, and their variables with flat names."""

    held: tuple[Held, ...]
    reads: tuple[tuple[str, str], ...]


class PolicySet:
    """Policies by level key. Changes replace a level's tuple whole, so readers need no lock."""

    def __init__(self) -> None:
        self._levels: dict[str, tuple[Held, ...]] = {}
        self._plans: dict[tuple[str, ...], Plan] = {}

    def decide(self, levels: tuple[str, ...], facts: Callable[[], Facts]) -> Verdict:
        """Return the verdict on a call that passes ``levels`` (keys, outermost first).

        ``facts`` is called once, and only if a level has a policy. Raises nothing: a policy that cannot be
        evaluated denies. Policies in shadow are asked too; they change nothing.
        """
        if not self._levels:
            return ALLOWED
        plan = self._plans.get(levels) or self._plan(levels)
        return _judge(plan, facts()) if plan.held else ALLOWED

    def put(self, held: Held) -> None:
        """Add a policy, or replace the one of that name. Raises ``InvalidRequest`` beyond the bound."""
        policy = held.policy
        self.must_fit(policy.scope, policy.name)
        others = [one for one in self.at(policy.scope) if one.policy.name != policy.name]
        self._levels[policy.scope] = tuple(sorted([*others, held], key=lambda one: one.policy.name))
        self._plans = {}

    def remove(self, scope: str, name: str) -> None:
        """Forget a policy."""
        rest = tuple(one for one in self.at(scope) if one.policy.name != name)
        if rest:
            self._levels[scope] = rest
        else:
            self._levels.pop(scope, None)
        self._plans = {}

    def at(self, scope: str) -> tuple[Held, ...]:
        """Return the policies of one level, by name."""
        return self._levels.get(scope, ())

    def get(self, scope: str, name: str) -> Held | None:
        """Return one policy."""
        return next((one for one in self.at(scope) if one.policy.name == name), None)

    def __bool__(self) -> bool:
        """Whether any level has a policy."""
        return bool(self._levels)

    def must_fit(self, scope: str, name: str) -> None:
        """Raise ``InvalidRequest`` if a level has no room for one more policy of another name."""
        others = [one for one in self.at(scope) if one.policy.name != name]
        if len(others) >= MOST_PER_LEVEL:
            raise InvalidRequest(
                f"{'platform' if scope == PLATFORM else scope} has {MOST_PER_LEVEL} policies already",
                hint="delete one, or put two into one expression",
                field="name",
            )

    def __iter__(self) -> Iterator[Held]:
        for level in sorted(self._levels):
            yield from self._levels[level]

    def _plan(self, levels: tuple[str, ...]) -> Plan:
        plans = self._plans  # taken first: a change meanwhile replaces it, and this plan goes with it
        held = tuple(one for level in levels for one in self._levels.get(level, ()))
        reads = {path for one in held if one.compiled is not None for path in one.compiled.reads}
        if len(plans) >= _REMEMBERED:
            plans.clear()
        plan = plans[levels] = Plan(held, tuple((path, flat(path)) for path in sorted(reads)))
        return plan


def _judge(plan: Plan, facts: Facts) -> Verdict:
    values, missing = _values(plan.reads, facts)
    bound = engine.bound(values)
    sayings: list[Said] = []
    for one in plan.held:
        decision = _ask(one, bound, missing)
        one.tally.counts[decision.kind] += 1
        if one.policy.mode is Mode.SHADOW:
            one.tally.remember(facts.now, facts.request_id, facts.tenant, decision)
        else:
            sayings.append(Said(one.policy.scope, one.policy.name, decision))
    return combine(sayings, facts.lane)


def _values(reads: tuple[tuple[str, str], ...], facts: Facts) -> tuple[dict[str, object], dict[str, str]]:
    """Return the variables by flat name, and why some cannot be given."""
    values: dict[str, object] = {}
    missing: dict[str, str] = {}
    for path, name in reads:
        try:
            values[name] = read(path, facts)
        except (Unfit, InsulaError) as error:
            missing[path] = str(error)
    return values, missing


def _ask(held: Held, bound: engine.Values, missing: dict[str, str]) -> Decision:
    if held.compiled is None:
        return Decision("error", held.broken)
    if missing:
        for path in held.compiled.reads:
            if path in missing:
                return Decision("error", missing[path])
    return held.compiled.ask(bound)
