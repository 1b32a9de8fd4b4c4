"""One call as its accounts see it: under way, and when it is over. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from insula.usage import Sent, Tokens, UsageEvent, Used

if TYPE_CHECKING:
    from insula.gateway.call import End, ModelCall, Source
    from insula.governance import Amounts


class Debits(NamedTuple):
    """What the accounts were debited: limits and prices, the tenant's ledger, the fair queue."""

    used: Amounts
    ledger: int
    fair_cost: int
    fair_charged: int


def sent_call(call: ModelCall, used: Used) -> Sent:
    """Return a call on its way, as a crash would leave it to be billed."""
    admission, identity = call.admission, call.identity
    scope, valuation, endpoint = admission.scope, admission.valuation, admission.endpoint
    return Sent(
        call.request_id, scope.tenant, scope.app or "", scope.agent or "", identity.run or "",
        identity.subject, endpoint.kind, endpoint.name, call.ask.model, admission.lane,
        admission.started_at, valuation.burn.version, valuation.price.version, used,
    )  # fmt: skip


def used_so_far(tokens: Tokens, debited: Amounts) -> Used:
    """Return what a call has used, and what its accounts were debited for it."""
    return Used(tokens.input, tokens.output, debited.input, debited.output, debited.quota, debited.nanousd)


def event_of(
    call: ModelCall, end: End, tokens: Tokens, source: Source, debits: Debits, now: float
) -> UsageEvent:
    """Return the usage event of a call that ended ``now`` (seconds since the epoch)."""
    ask, identity, admission = call.ask, call.identity, call.admission
    used, valuation = debits.used, admission.valuation
    return UsageEvent(
        event_id=call.request_id, tenant_id=identity.tenant, request_id=call.request_id,
        provider=str(admission.endpoint.kind), model_id=ask.model, request_model=ask.model,
        endpoint=admission.endpoint.name, timestamp=now, started_at=admission.started_at,
        input_tokens=tokens.input, output_tokens=tokens.output, cache_read_tokens=tokens.cache_read,
        cache_write_tokens=tokens.cache_write, cache_write_1h_tokens=tokens.cache_write_1h,
        reasoning_tokens=tokens.reasoning, quota_tokens=used.quota, input_quota_tokens=used.input,
        output_quota_tokens=used.output, burn_version=valuation.burn.version, cost_nanousd=used.nanousd,
        price_version=valuation.price.version, app_id=admission.scope.app, agent_id=identity.agent,
        run_id=identity.run, subject=identity.subject, usage_source=source, stream_end=end,
        lane=str(admission.lane), queue_ms=admission.queue_us // 1000, attempt=admission.attempts,
        ledger_tokens=debits.ledger, fair_cost=debits.fair_cost, fair_charged=debits.fair_charged,
    )  # fmt: skip
