"""The body of a run's workflow: from wherever its record stands to one terminal state.

It may be entered any number of times, after any crash: what it does next is decided by the record alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import asdict
from typing import Any

import structlog

from insula.identity import Storage, Usage
from insula.kernel.errors import AccessError, InsulaError, IsolationBreach
from insula.kernel.ids import RunId, TenantId
from insula.runs.adapters.index import Entry, RunIndex
from insula.runs.attempt import Attempt, Outcome
from insula.runs.blueprint import Blueprint
from insula.runs.book import Books, RunBook
from insula.runs.gate import Gate
from insula.runs.invocation import Invocation
from insula.runs.journal import Journal, JournalClosed
from insula.runs.live import LiveRun, LiveRuns
from insula.runs.parts import RunParts
from insula.runs.passes import Passes, RunPass
from insula.runs.record import RunRecord
from insula.runs.reservations import Shortage
from insula.runs.resume import resume
from insula.runs.run import RunUsage
from insula.runs.states import RunState
from insula.runs.verdict import (
    Cause,
    Refused,
    Verdict,
    never_stored,
    platform_fault,
    stopped,
    unable,
    waiting_stopped,
    without_tokens,
)
from insula.tenancy import TenantState

_log = structlog.get_logger()

TOKENS_PATIENCE_S = 900.0
"""How long a run waits until its tenant's running work gives some tokens back."""

_TOKENS_PAUSE_S, _TOKENS_PAUSE_MOST_S = 0.5, 15.0


class Carrier:
    """Carries runs. One per platform, on one event loop."""

    def __init__(self, parts: RunParts, passes: Passes, books: Books, index: RunIndex) -> None:
        self.gate = Gate(parts.slots, parts.turns, parts.weight, parts.clock)
        self.live = LiveRuns()
        self._parts = parts
        self._passes = passes
        self._books = books
        self._index = index
        self._tasks: set[asyncio.Task[Any]] = set()
        self._leaving = False

    async def carry(self, tenant: TenantId, run: RunId) -> str:
        """Carry a run to its end; return the terminal state. Cancelled, it leaves the run to be taken up."""
        task = asyncio.current_task()
        assert task is not None
        if self._leaving:
            raise asyncio.CancelledError
        self._tasks.add(task)
        try:
            return await self._carry(tenant, run)
        except JournalClosed:
            return "ended elsewhere"
        except Exception as error:
            _log.exception("run_fault", run=run, tenant=tenant)
            await self._end_in_index(run, platform_fault(type(error).__name__))
            return str(RunState.FAILED)
        except IsolationBreach as breach:
            await self._end_in_index(run, platform_fault(type(breach).__name__))
            raise
        finally:
            self._tasks.discard(task)

    def send(self, tenant: TenantId, run: RunId) -> None:
        """Carry a run outside of its workflow."""
        task = asyncio.create_task(self.carry(tenant, run))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def let_go(self) -> None:
        """Stop carrying: sandboxes are destroyed, the runs stay as their records say."""
        self._leaving = True
        for task in self._tasks:
            task.cancel()
        while self._tasks:
            await asyncio.wait(set(self._tasks))

    async def _carry(self, tenant: TenantId, run: RunId) -> str:
        entry = await asyncio.to_thread(self._index.find, tenant, run)
        if entry is None:
            return "forgotten"
        passport = self._passes.for_run(tenant, entry.agent, run)
        journal = Journal(run, lambda: self._open(passport), self._parts.clock)
        live = LiveRun(tenant, run, journal)
        self.live.enter(live)
        try:
            return await self._enter(live, entry, passport)
        except asyncio.CancelledError:
            await self._part(journal)
            raise
        finally:
            self._parts.reservations.close(tenant, run)
            self.live.leave(run)

    async def _enter(self, live: LiveRun, entry: Entry, passport: RunPass) -> str:
        """Read where the run stands, and go on from there."""
        try:
            record, seq = await asyncio.to_thread(self._look, passport, live.run)
        except AccessError:
            return await self._end_in_index(live.run, waiting_stopped(self._barred(live.tenant)))
        if record is None:
            return await self._end_in_index(live.run, never_stored(), release_key=True)
        if record.state.terminal:
            return await self._agree(entry, record)
        live.journal.continue_from(seq, record.state, record.attempt)
        outcome = await self._outcome(live, record, passport)
        verdict = await self._finish(live, record, passport, outcome)
        self._parts.reach("after_final_write")
        return await self._end_in_index(live.run, verdict)

    async def _part(self, journal: Journal) -> None:
        """The platform stops: leave word in the journal. The run stays open."""
        if journal.shown:
            journal.note("drained")
            with contextlib.suppress(InsulaError):
                await journal.flush()

    async def _outcome(self, live: LiveRun, record: RunRecord, passport: RunPass) -> Outcome:
        try:
            verdict = resume(record, await self._recovery(live, record, passport))
            if verdict is not None:
                return Outcome(verdict)
            await self._take_up(live, record)
            return await self._in_turn(live, record, passport)
        except Refused as refusal:
            return Outcome(refusal.verdict)
        except JournalClosed:
            raise
        except AccessError:
            return Outcome(self._barred_verdict(live))
        except InsulaError as error:
            _log.warning("run_not_carried", run=live.run, tenant=live.tenant, code=error.code)
            return Outcome(unable(error.message, error.hint))
        except Exception as error:
            _log.exception("run_fault", run=live.run, tenant=live.tenant)
            return Outcome(platform_fault(type(error).__name__))

    async def _take_up(self, live: LiveRun, record: RunRecord) -> None:
        """A run that a crash cut goes back to the queue, visibly."""
        if record.state is not RunState.QUEUED:
            live.journal.note("taken_up", was=str(record.state))
            await live.journal.change(RunState.QUEUED)

    async def _recovery(self, live: LiveRun, record: RunRecord, passport: RunPass) -> str:
        """What the agent wishes when a crash cut it; asked only where that happened."""
        if record.state is RunState.QUEUED:
            return "restart"
        return (await self._drawn(live, record, passport)).recovery

    async def _in_turn(self, live: LiveRun, record: RunRecord, passport: RunPass) -> Outcome:
        """Wait for a slot, and for tokens: a run that waits for these leaves the slot to others meanwhile."""
        waiting, pause_s = time.monotonic(), _TOKENS_PAUSE_S
        while True:
            outcome = await self._turn(live, record, passport, waiting)
            if isinstance(outcome, Outcome):
                return outcome
            if outcome.exhausted or time.monotonic() - waiting > TOKENS_PATIENCE_S:
                return Outcome(without_tokens(outcome))
            if pause_s == _TOKENS_PAUSE_S:
                live.journal.note("waiting_for_tokens", reason=outcome.reason)
                await live.journal.flush()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await live.stopped.wait()
            pause_s = min(2 * pause_s, _TOKENS_PAUSE_MOST_S)

    async def _turn(
        self, live: LiveRun, record: RunRecord, passport: RunPass, waiting: float
    ) -> Outcome | Shortage:
        """Wait for a slot. A run that waits holds neither its files nor its input in memory."""
        cap = self._parts.registry.profile(live.tenant).limits.in_flight
        slot = self.gate.slot(live.tenant, live.run, cap, live.stopped, record.agent, record.lane)
        async with slot as admitted:
            if not admitted:
                assert live.cause is not None
                return Outcome(waiting_stopped(live.cause))
            waited_ms = round((time.monotonic() - waiting) * 1000)
            plan = await self._drawn(live, record, passport)
            attempt = record.attempt + 1
            reserved = self._parts.reservations.open(live.tenant, live.run, plan.agent, attempt, plan.tokens)
            if isinstance(reserved, Shortage):
                return reserved
            live.admitted = True
            live.journal.attempt = attempt
            self._tell_plan(live, plan, waited_ms)
            if reserved.tokens is not None:
                live.journal.note("reserved", tokens=reserved.tokens)
            await live.journal.change(RunState.ADMITTED, {"attempt": live.journal.attempt, "backend": None})
            self._parts.reach("admitted")
            pump = asyncio.create_task(live.journal.pump())
            outcome = None
            try:
                outcome = await Attempt(self._parts, live, plan, passport).carry()
                return outcome
            finally:
                self._give_back(live, plan, outcome)
                pump.cancel()
                await asyncio.gather(pump, return_exceptions=True)

    def _give_back(self, live: LiveRun, plan: Blueprint, outcome: Outcome | None) -> None:
        """Free the tokens that a start left, before anybody can see that it ended. Only a success teaches."""
        used = self._parts.reservations.close(live.tenant, live.run)
        if used is not None and outcome is not None and outcome.verdict.state is RunState.SUCCEEDED:
            self._parts.reservations.learn(live.tenant, plan.agent, used)

    def _tell_plan(self, live: LiveRun, plan: Blueprint, waited_ms: int) -> None:
        profile, note = plan.profile, live.journal.note
        note(
            "planned",
            tier=str(profile.tier),
            trust=str(profile.trust),
            floor=str(profile.compute_floor),
            bounds=asdict(plan.bounds),
        )
        for exception in profile.exceptions:
            note("named_exception", exception=exception)
        note("timeout", timeout_s=plan.timeout.seconds, by=plan.timeout.by)
        note("admitted", waited_ms=waited_ms, slots=self._parts.slots, attempt=live.journal.attempt)

    async def _finish(self, live: LiveRun, record: RunRecord, passport: RunPass, outcome: Outcome) -> Verdict:
        """Write the end, once, with everything that came out of the run."""
        verdict = outcome.verdict.fit(live.journal.state)
        usage = await self._usage(live, passport)
        self._parts.reach("before_final_write")
        ended_at = self._parts.clock.now()
        columns = {
            "cause": str(verdict.cause),
            "reason": verdict.reason,
            "hint": verdict.hint or None,
            "exit_code": outcome.exit_code,
            "result": outcome.result,
            "finished_at": ended_at,
            "destroyed": record.destroyed + outcome.destroyed,
            **asdict(usage),
        }
        await live.journal.change(
            verdict.state,
            columns,
            artifacts=outcome.artifacts,
            cause=str(verdict.cause),
            reason=verdict.reason,
        )
        failure = None if verdict.state is RunState.SUCCEEDED else str(verdict.cause)
        self._parts.ended(
            Invocation(live.run, live.tenant, record.agent, record.created_at, ended_at, failure, usage.calls)
        )
        return verdict

    async def _usage(self, live: LiveRun, passport: RunPass) -> RunUsage:
        """What the run used over all its starts; a run that never started used nothing."""
        if live.journal.attempt == 0:
            return RunUsage()
        try:
            total = await self._parts.run_total(passport.context(Usage), live.run)
        except AccessError:
            return (
                RunUsage()
            )  # a tenant that may not act any more: the bill is right, this copy is not filled
        return RunUsage(total.calls, total.input_tokens, total.output_tokens, total.cost_nanousd)

    async def _agree(self, entry: Entry, record: RunRecord) -> str:
        """The record says how it ended and the index does not yet."""
        assert record.finished_at is not None
        await asyncio.to_thread(
            self._index.finish, entry.run, record.state, record.cause or "", record.finished_at
        )
        return str(record.state)

    async def _end_in_index(self, run: RunId, verdict: Verdict, *, release_key: bool = False) -> str:
        at = self._parts.clock.now()
        await asyncio.to_thread(
            self._index.finish, run, verdict.state, str(verdict.cause), at, release_key=release_key
        )
        return str(verdict.state)

    def _open(self, passport: RunPass) -> RunBook:
        return self._books.open(passport.context(Storage))

    def _look(self, passport: RunPass, run: RunId) -> tuple[RunRecord | None, int]:
        book = self._open(passport)
        return book.find(run), book.last_seq(run)

    async def _drawn(self, live: LiveRun, record: RunRecord, passport: RunPass) -> Blueprint:
        return await asyncio.to_thread(self._draw, passport, record, live.tenant)

    def _draw(self, passport: RunPass, record: RunRecord, tenant: TenantId) -> Blueprint:
        book = self._open(passport)
        return self._parts.draw(record, tenant, book.space, book.input(record.run))

    def _barred_verdict(self, live: LiveRun) -> Verdict:
        cause = self._barred(live.tenant)
        if live.journal.state is RunState.RUNNING:
            return stopped(cause, 0)
        return waiting_stopped(cause)

    def _barred(self, tenant: TenantId) -> Cause:
        standing = self._parts.registry.standing(tenant)
        deleted = standing is None or standing[0] is TenantState.DELETED
        return Cause.TENANT_DELETED if deleted else Cause.TENANT_SUSPENDED
