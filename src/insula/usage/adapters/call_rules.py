"""What the figures of one booked call say of each other, as SQL over the event ``e`` and its rates ``r``.

``r`` is the burndown that the call was debited at, in thousandths. Where it is gone its columns are NULL,
and a rule that needs them finds nothing wrong.
"""

from __future__ import annotations

from typing import NamedTuple


class Rule(NamedTuple):
    """``field`` of ``account`` has to be ``due``, or at most that; ``when`` says for which calls."""

    account: str
    field: str
    due: str
    when: str = "1"
    at_most: bool = False

    @property
    def wrong(self) -> str:
        """The condition under which a call breaks the rule."""
        return f"({self.when}) AND {self.field} {'>' if self.at_most else '<>'} {self.due}"


_READ = (
    "((input_tokens - cache_read_tokens - cache_write_tokens) * r.input"
    " + cache_read_tokens * r.cache_read + cache_write_tokens * r.cache_write)"
)
_WRITTEN = "(output_tokens * r.output)"
# Calls from before there were limits on one direction were debited from none.
_SIDED = "burn_version <> '' OR input_quota_tokens <> 0 OR output_quota_tokens <> 0"

RULES = (
    Rule("event", "day", "date(CAST(timestamp AS INTEGER), 'unixepoch')"),
    Rule("event", "cache_read_tokens", "(input_tokens - cache_write_tokens)", at_most=True),
    Rule("event", "cache_write_1h_tokens", "cache_write_tokens", at_most=True),
    Rule("event", "reasoning_tokens", "output_tokens", at_most=True),
    Rule("limits", "quota_tokens", f"({_READ} + {_WRITTEN} + 999) / 1000"),
    Rule("limits", "input_quota_tokens", f"({_READ} + 999) / 1000", _SIDED),
    Rule("limits", "output_quota_tokens", f"({_WRITTEN} + 999) / 1000", _SIDED),
    Rule("ledger", "ledger_tokens", "quota_tokens", "ledger_tokens <> 0"),
    Rule("fairness", "fair_charged", "fair_cost"),
)

ANSWERS = "event_id, " + ", ".join(f"{rule.wrong}, {rule.due}, {rule.field}" for rule in RULES)
"""The event, then for each rule: whether it is broken, what is due, what was found."""

WRONG = " OR ".join(f"({rule.wrong})" for rule in RULES)
