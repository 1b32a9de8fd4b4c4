"""What one policy says of one call, and how the sayings of several levels make one verdict. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple

Kind = Literal["allow", "deny", "limit", "lane", "error"]
KINDS: tuple[Kind, ...] = ("allow", "deny", "limit", "lane", "error")
_MOST_REASON = 300


@dataclass(frozen=True, slots=True)
class Decision:
    """``reason`` goes with a denial and an error, ``limit`` bounds ``max_tokens``, ``lane`` names one."""

    kind: Kind
    reason: str = ""
    limit: int | None = None
    lane: str | None = None


ALLOW = Decision("allow")
_NO = Decision("deny")


def decode(result: object) -> Decision:
    """Return the decision that the library's result stands for. Anything unforeseen is an error."""
    if result is True:
        return ALLOW
    if result is False:
        return _NO
    match result:
        case ["deny", str(reason)]:
            return Decision("deny", reason[:_MOST_REASON])
        case ["limit", int(limit)] if limit >= 1:
            return Decision("limit", limit=limit)
        case ["limit", int(limit)]:
            return Decision("error", f"limit({limit}) lets nothing through")
        case ["lane", "interactive" | "batch" as lane]:
            return Decision("lane", lane=lane)
    return Decision("error", "the result is no decision")


class Said(NamedTuple):
    """A decision and the policy it came from."""

    scope: str
    policy: str
    decision: Decision


@dataclass(frozen=True, slots=True)
class Verdict:
    """What holds for a call. ``denied`` is the saying that refused it; then nothing else matters.

    ``limit``: the most output it may ask for (``None``: as asked), and ``limited`` who said so.
    ``lane``: where it goes (``None``: as asked), and ``moved`` who said so.
    """

    denied: Said | None = None
    limit: int | None = None
    limited: Said | None = None
    lane: str | None = None
    moved: Said | None = None

    @property
    def allowed(self) -> bool:
        return self.denied is None


ALLOWED = Verdict()


def combine(sayings: Iterable[Said], asked_lane: str) -> Verdict:
    """Return the verdict of sayings in order, outermost level first.

    One denial denies, and an error is one: the outermost is named. The least limit holds. Of lanes, the
    innermost level that names one is followed, but only downwards: nothing moves a call that asked for batch
    to interactive, because what a tenant's batch lane may not overtake is not a policy's to give.
    """
    limited: Said | None = None
    moved: Said | None = None
    for said in sayings:
        decision = said.decision
        if decision.kind in {"deny", "error"}:
            return Verdict(denied=said)
        if decision.limit is not None and (limited is None or decision.limit < (limited.decision.limit or 0)):
            limited = said
        if decision.lane is not None:
            moved = said
    if limited is None and moved is None:
        return ALLOWED
    lane = moved.decision.lane if moved is not None else None
    if lane == asked_lane or lane == "interactive":
        lane = moved = None
    return Verdict(None, limited.decision.limit if limited else None, limited, lane, moved)
