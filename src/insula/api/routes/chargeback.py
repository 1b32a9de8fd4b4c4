"""Chargeback: what a tenant owes for a month, and the costs that all share."""

from __future__ import annotations

import asyncio
from typing import Annotated, Self

from fastapi import APIRouter, Depends, Query
from pydantic import Field, WithJsonSchema

from insula.api.caller import Caller, needs
from insula.api.fields import Body, Gone, IdempotencyHeader, LabelField, LabelPath, TenantPath, View
from insula.api.routes.usage import Totals
from insula.identity import Usage
from insula.kernel.money import usd
from insula.usage import Basis, Month, SharedCost, nano_of
from insula.usage.focus import COLUMNS, FOCUS_VERSION, FocusRow

router = APIRouter(tags=["chargeback"])
Reader = Annotated[Caller, Depends(needs("usage:read"))]
Writer = Annotated[Caller, Depends(needs("costs:write"))]

_MONTH_SCHEMA = {"type": "string", "pattern": r"^\d{4}-\d{2}$", "description": "A UTC month, 2026-11."}
MonthQuery = Annotated[str | None, Query(max_length=40), WithJsonSchema(_MONTH_SCHEMA)]
DayField = Annotated[str, Field(max_length=40), WithJsonSchema({"type": "string", "format": "date"})]
MonthField = Annotated[str, Field(max_length=40), WithJsonSchema(_MONTH_SCHEMA)]


class InvoiceLine(Totals):
    """What calls of one app, agent and model cost."""

    app: str | None
    agent: str | None
    model: str
    first_day: str
    last_day: str


class SharedPart(View):
    """A tenant's part of a cost that all share."""

    name: str
    by: Basis
    whole_nanousd: int
    whole_usd: str
    cost_nanousd: int
    cost_usd: str


class InvoiceView(View):
    """What a tenant owes for a month: the exact sum of its calls and of its parts of what is shared."""

    tenant: str
    month: str
    preliminary: bool = Field(description="The month is not over.")
    lines: list[InvoiceLine]
    shared_lines: list[SharedPart]
    direct_nanousd: int
    shared_nanousd: int
    total_nanousd: int
    direct_usd: str
    shared_usd: str
    total_usd: str
    unpriced_calls: int


class FocusView(View):
    """Usage and cost with the columns of FOCUS; amounts are exact decimals, as text."""

    focus_version: str
    columns: list[str]
    rows: list[FocusRow]


class CostCreate(Body):
    """A cost that all tenants who used anything in a month bear together."""

    name: LabelField
    month: MonthField
    usd: Annotated[str, Field(max_length=40, description="Dollars, as an exact decimal.")]
    by: Annotated[Basis, Field(strict=False, description="Split by direct cost, or by dominant time.")]


class CostView(View):
    """A shared cost, and each tenant's part of it as of now."""

    name: str
    month: str
    by: Basis
    nanousd: int
    usd: str
    parts_nanousd: dict[str, int]

    @classmethod
    def of(cls, cost: SharedCost, parts: dict[str, int]) -> Self:
        """Return the view of ``cost``."""
        return cls(
            name=cost.name,
            month=str(cost.month),
            by=cost.by,
            nanousd=cost.nanousd,
            usd=usd(cost.nanousd),
            parts_nanousd=parts,
        )


class Rerate(Body):
    """Which calls to correct."""

    since: DayField
    until: DayField


class RerateView(View):
    """How many calls were looked at, how many corrected, and by how much in sum."""

    calls: int
    corrected: int
    delta_nanousd: int
    delta_usd: str


class CostList(View):
    """What is shared in a month."""

    month: str
    items: list[CostView]


@router.get("/tenants/{tenant}/invoice")
async def invoice(tenant: TenantPath, who: Reader, month: MonthQuery = None) -> InvoiceView:
    """Return what a tenant owes for a month; the one that runs is preliminary."""
    office = who.platform.chargeback
    drawn = await office.invoice(who.context(tenant, Usage), office.month(month))
    return InvoiceView(**drawn.as_dict())


@router.get("/tenants/{tenant}/usage/focus")
async def focus(tenant: TenantPath, who: Reader, month: MonthQuery = None) -> FocusView:
    """Return a month with the columns of FOCUS, by day; it adds up to the invoice."""
    office = who.platform.chargeback
    rows = await office.focus(who.context(tenant, Usage), office.month(month))
    return FocusView(focus_version=FOCUS_VERSION, columns=list(COLUMNS), rows=rows)


@router.post("/tenants/{tenant}/usage/rerate")
async def rerate(tenant: TenantPath, body: Rerate, who: Writer, key: IdempotencyHeader = None) -> RerateView:
    """Correct what a tenant's calls cost by the prices of today; nothing that was written is edited."""
    done = await who.platform.rerating.rerate(who.context(tenant, Usage), body.since, body.until)
    if who.platform.governing.metering is not None:
        await who.platform.governing.metering.correct(tenant)
    told = {"since": body.since, "until": body.until, "corrected": done.corrected}
    await asyncio.to_thread(who.audit, tenant, "usage.rerate", tenant, nanousd=done.delta_nanousd, **told)
    return RerateView(
        calls=done.calls,
        corrected=done.corrected,
        delta_nanousd=done.delta_nanousd,
        delta_usd=usd(done.delta_nanousd),
    )


@router.get("/costs")
async def list_(who: Reader, month: MonthQuery = None) -> CostList:
    """Return the shared costs of a month, with the tenants' parts."""
    who.must_be_operator()
    office = who.platform.chargeback
    chosen = office.month(month)
    found = await office.shared(chosen)
    return CostList(month=str(chosen), items=[CostView.of(cost, parts) for cost, parts in found])


@router.post("/costs", status_code=201)
async def create(body: CostCreate, who: Writer, key: IdempotencyHeader = None) -> CostView:
    """Record a shared cost."""
    cost = SharedCost(body.name, Month.parse(body.month), nano_of(body.usd), body.by)
    await who.platform.chargeback.share(cost)
    told = {"month": body.month, "nanousd": cost.nanousd, "by": str(cost.by)}
    await asyncio.to_thread(who.audit, "platform", "cost.add", cost.name, **told)
    return CostView.of(cost, {})


@router.delete("/costs/{month}/{name}")
async def remove(month: LabelPath, name: LabelPath, who: Writer) -> Gone:
    """Take a shared cost back."""
    await who.platform.chargeback.unshare(Month.parse(month), name)
    await asyncio.to_thread(who.audit, "platform", "cost.remove", name, month=month)
    return Gone(removed=name)
