"""Reports: only one's own, complete up to the last call, and clear about bad questions."""

from __future__ import annotations

from typing import Any

import pytest

from insula.identity import Gateway
from insula.kernel.errors import Denied, InvalidRequest, IsolationBreach
from insula.kernel.ids import RunId
from insula.usage import UsageRow

ACME, BLUE = "acme", "blue"


def test_a_report_is_complete_and_only_ones_own(in_office: Any, make: Any) -> None:
    async def scenario(office: Any) -> None:
        for number in range(5):
            office.recorder.record(make(number, tenant_id="acme" if number % 2 else "blue"))
        mine = await office.reports.report(office.context(ACME))
        theirs = await office.reports.report(office.context(BLUE))
        assert (mine.total.calls, theirs.total.calls) == (2, 3)
        assert mine.total.cost_nanousd + theirs.total.cost_nanousd == 5 * 1_234
        assert [row.day for row in mine.rows] == ["2026-09-21"]

    in_office(scenario)


def test_a_run_total_includes_the_call_that_just_ended(in_office: Any, make: Any) -> None:
    async def scenario(office: Any) -> None:
        run = RunId("run_1")
        for number in range(3):
            await office.recorder.record(make(number))
            total = await office.reports.run_total(office.context(ACME), run)
            assert total.calls == number + 1
        assert await office.reports.run_total(office.context(BLUE), run) == UsageRow()

    in_office(scenario)


def test_only_a_fresh_context_for_usage_is_answered(in_office: Any) -> None:
    async def scenario(office: Any) -> None:
        with pytest.raises(Denied):
            await office.reports.report(office.context(ACME, Gateway))
        with pytest.raises(IsolationBreach):
            await office.reports.report("acme")  # type: ignore[arg-type]
        context = office.context(ACME)
        office.clock.advance(301)
        with pytest.raises(Denied):
            await office.reports.run_total(context, RunId("run_1"))

    in_office(scenario)


@pytest.mark.parametrize(
    ("since", "until", "field"),
    [
        ("yesterday", None, "since"),
        ("2026-02-30", None, "since"),
        (None, "20261123", "until"),
        (None, "2026-11-23T00:00:00", "until"),
        ("2026-11-24", "2026-11-23", "since"),
        (5, None, "since"),
    ],
)
def test_a_day_that_is_none_is_refused_by_field(in_office: Any, since: Any, until: Any, field: str) -> None:
    async def scenario(office: Any) -> None:
        with pytest.raises(InvalidRequest) as refused:
            await office.reports.report(office.context(ACME), since, until)
        assert refused.value.field == field and refused.value.hint

    in_office(scenario)
