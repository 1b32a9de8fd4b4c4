"""Usage: tokens and cost."""

from __future__ import annotations

from typing import Annotated, Any, Self

from fastapi import APIRouter, Depends
from pydantic import Field

from insula.api.caller import Caller, needs
from insula.api.fields import DayQuery, TenantPath, View
from insula.identity import Usage
from insula.usage import UsageRow

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
    quota_tokens: int = Field(description="What was debited from the tokens-per-minute limits.")
    cost_nanousd: int
    cost_usd: str = Field(description="Dollars, as an exact decimal.")
    estimated_calls: int = Field(description="Calls whose tokens the provider did not state in full.")
    unpriced_calls: int = Field(description="Calls to a model without a known price; they cost 0 here.")


class UsageLine(Totals):
    """One day, one model, one agent."""

    day: str | None
    model: str | None
    agent: str | None

    @classmethod
    def of(cls, row: UsageRow) -> Self:
        """Return the view of ``row``."""
        return cls(**_fields(row))


class UsageView(View):
    """What a tenant used, everything up to this moment included."""

    tenant: str
    since: str | None
    until: str | None
    rows: list[UsageLine]
    totals: Totals


def _fields(row: UsageRow) -> dict[str, Any]:
    return dict(row.as_dict())


@router.get("/tenants/{tenant}/usage")
async def usage(tenant: TenantPath, who: Reader, since: DayQuery = None, until: DayQuery = None) -> UsageView:
    """Return tokens and cost by day, model and agent."""
    context = who.context(tenant, Usage)
    report = await who.platform.usage_reports.report(context, since, until)
    totals = {name: value for name, value in _fields(report.total).items() if name in Totals.model_fields}
    return UsageView(
        tenant=tenant,
        since=since,
        until=until,
        rows=[UsageLine.of(row) for row in report.rows],
        totals=Totals(**totals),
    )
