"""The burndown that is in force: what a model's tokens count for at its provider."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Query

from insula.api.caller import Caller, needs
from insula.api.fields import DayQuery, View
from insula.kernel.errors import InvalidRequest

router = APIRouter(tags=["limits"])
Reader = Annotated[Caller, Depends(needs("limits:read"))]
Word = Annotated[str, Query(min_length=1, max_length=200)]


class BurndownView(View):
    """Rates in thousandths of a quota token for each token, and where they come from."""

    provider: str
    endpoint: str
    model: str
    on: date
    input: int
    cache_read: int
    cache_write: int
    output: int
    version: str
    source: str
    confidence: str
    effective_from: date
    checked_on: date
    assumed: bool
    warning: str


@router.get("/platform/burndown")
def get_burndown(
    who: Reader, provider: Word, model: Word, endpoint: Word = "*", on: DayQuery = None
) -> BurndownView:
    """Return the rates of a model at a provider on a day; today, if none is given."""
    who.must_be_operator()
    day = _day(on) or datetime.fromtimestamp(who.platform.clock.now(), UTC).date()
    burn = who.platform.governing.burndown.find(provider, endpoint, model, day)
    return BurndownView(
        provider=provider,
        endpoint=endpoint,
        model=model,
        on=day,
        input=burn.input,
        cache_read=burn.cache_read,
        cache_write=burn.cache_write,
        output=burn.output,
        version=burn.version,
        source=burn.source,
        confidence=burn.confidence.value,
        effective_from=burn.effective_from,
        checked_on=burn.checked_on,
        assumed=burn.assumed,
        warning=burn.warning,
    )


def _day(given: str | None) -> date | None:
    try:
        return None if given is None else date.fromisoformat(given)
    except ValueError:
        raise InvalidRequest(f"on is {given!r}, no day", hint="write 2026-05-28", field="on") from None
