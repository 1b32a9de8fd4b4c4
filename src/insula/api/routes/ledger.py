"""The ledger: do all accounts of every call say the same?"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import Field, WithJsonSchema

from insula.api.caller import Caller, needs
from insula.api.fields import View
from insula.kernel.ids import tenant_id
from insula.wiring.live_accounts import contradictions

router = APIRouter(tags=["ledger"])
Reader = Annotated[Caller, Depends(needs("usage:read"))]
_LABEL = {"type": "string", "pattern": "^[a-z0-9]([a-z0-9-]{0,46}[a-z0-9])?$"}
TenantQuery = Annotated[str | None, Query(max_length=48), WithJsonSchema(_LABEL)]


class MismatchView(View):
    """A figure that another contradicts."""

    account: str = Field(description="event, limits, ledger, fairness, hour, day or invoice.")
    tenant: str
    where: str = Field(description="The call's id, or the period with app, agent and model.")
    field: str
    expected: int | str
    found: int | str


class CheckView(View):
    """What the books say of themselves."""

    calls: int
    mismatches: int
    unverified: int = Field(description="Calls debited at rates that the burndown no longer has.")
    details: list[MismatchView] = Field(description="The first 200 mismatches.")


@router.get("/ledger/check")
async def check(who: Reader, tenant: TenantQuery = None) -> CheckView:
    """Check every debit, total and invoice, to the unit: of one tenant, or of all."""
    who.must_be_operator()
    whose = None if tenant is None else who.must_see(tenant_id(tenant))
    checked = await who.platform.reconciliation.check(whose)
    checked.note(await contradictions(who.platform.governing, whose))
    return CheckView(**checked.as_dict())
