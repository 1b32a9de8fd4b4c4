"""Usage: tokens and cost."""

from __future__ import annotations

from typing import Annotated, Any, Self

from fastapi import APIRouter, Depends
from pydantic import Field

from insula.api.caller import Caller, needs
from insula.api.fields import DayQuery, TenantPath, View
from insula.identity import Usage
from insula.usage import Period, UsageRow

router = APIRouter(tags=["usage"])
Reader = Annotated[Caller, Depends(needs("usage:read"))]


class Totals(View):
    """Figures that add up."""

    calls: int
    input_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    output_tokens: int
    reasoning_tokens: int
    quota_tokens: int = Field(description="What was debited from limits in quota tokens.")
    fair_cost: int = Field(description="What the fair queue counts: dominant nanoseconds.")
    cost_nanousd: int
    cost_usd: str = Field(description="Dollars, as an exact decimal.")
    estimated_calls: int = Field(description="Calls whose tokens the provider did not state in full.")
    unpriced_calls: int = Field(description="Calls to a model without a known price; they cost 0 here.")


class UsageLine(Totals):
    """One period, one app, one agent, one model."""

    period: str = Field(description="An hour, a day or a month, in UTC.")
    day: str | None = Field(description="The day that the period lies in; null for a month.")
    model: str
    agent: str | None
    app: str | None

    @classmethod
    def of(cls, row: UsageRow) -> Self:
        """Return the view of ``row``."""
        return cls(**_fields(row))


class UsageView(View):
    """What a tenant used, everything up to this moment included."""

    tenant: str
    since: str | None
    until: str | None
    by: Period
    rows: list[UsageLine]
    totals: Totals


def _fields(row: UsageRow) -> dict[str, Any]:
    return dict(row.as_dict())


@router.get("/tenants/{tenant}/usage")
async def usage(
    tenant: TenantPath,
    who: Reader,
    since: DayQuery = None,
    until: DayQuery = None,
    by: Period = Period.DAY,
) -> UsageView:
    """Return tokens and cost by hour, day or month, and by app, agent and model."""
    context = who.context(tenant, Usage)
    report = await who.platform.usage_reports.report(context, since, until, by)
    totals = {name: value for name, value in _fields(report.total).items() if name in Totals.model_fields}
    return UsageView(
        tenant=tenant,
        since=since,
        until=until,
        by=by,
        rows=[UsageLine.of(row) for row in report.rows],
        totals=Totals(**totals),
    )
