"""The same laws on traces that hypothesis looks for, and shrinks."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from ledger_trace import Court

from insula.governance.ledger import State, TenantLedger

RIDS = st.sampled_from(["a", "b", "c", "d"])
CALLS = st.sampled_from(["1", "2", "3", "4", "5"])
AMOUNTS = st.integers(1, 120)
SEQS = st.integers(0, 3)


class Machine(RuleBasedStateMachine):
    """A small ledger, four tasks, five calls; ids and sequence numbers that come again."""

    @initialize(limit=st.integers(0, 200), overdraft=st.integers(0, 40))
    def begin(self, limit: int, overdraft: int) -> None:
        self.court = Court(TenantLedger("1", limit, overdraft))
        self.now = 0

    def _wanted(self, want: int, least: int) -> dict[str, int]:
        return {"want": max(want, least), "least": least, "now_us": self.now}

    @rule(seconds=st.sampled_from([0, 1, 19, 21, 3_601, 90_000]))
    def pass_time(self, seconds: int) -> None:
        self.now += seconds * 1_000_000
        self.court.step("tick", now_us=self.now)

    @rule(rid=RIDS, want=AMOUNTS, least=AMOUNTS)
    def open(self, rid: str, want: int, least: int) -> None:
        self.court.step("open", rid=rid, **self._wanted(want, least), seq=len(self.court.steps))

    @rule(rid=RIDS, parent=RIDS, want=AMOUNTS, least=AMOUNTS)
    def child(self, rid: str, parent: str, want: int, least: int) -> None:
        if rid != parent:
            given = self._wanted(want, least)
            self.court.step("child", rid=rid, parent=parent, **given, seq=len(self.court.steps))

    @rule(rid=RIDS | st.none(), tokens=AMOUNTS)
    def draw(self, rid: str | None, tokens: int) -> None:
        self.court.step("draw", rid=rid, tokens=tokens, now_us=self.now)

    @rule(call=CALLS, rid=RIDS | st.none(), want=AMOUNTS, least=AMOUNTS, sure=st.integers(0, 50))
    def hold(self, call: str, rid: str | None, want: int, least: int, sure: int) -> None:
        known = call in self.court.ledger.book.holds or call in self.court.ledger.memory.calls
        step = self.court.ledger.hold if known else lambda **given: self.court.step("hold", **given)
        step(call=call, rid=rid, **self._wanted(want, least), sure=sure)

    @rule(call=CALLS, more=AMOUNTS)
    def raise_hold(self, call: str, more: int) -> None:
        self.court.step("raise_hold", call=call, more=more, now_us=self.now)

    @rule(call=CALLS, used=st.integers(0, 150))
    def settle(self, call: str, used: int) -> None:
        answer = self.court.step("settle", call=call, used=used, now_us=self.now)
        self.court.again("settle", answer, call=call, used=used, now_us=self.now)

    @rule(rid=RIDS, state=st.sampled_from(State))
    def waiting(self, rid: str, state: State) -> None:
        self.court.step("waiting", rid=rid, state=state, now_us=self.now)

    @rule(rid=RIDS)
    def heartbeat(self, rid: str) -> None:
        self.court.step("heartbeat", rid=rid, now_us=self.now)

    @rule(rid=RIDS)
    def close(self, rid: str) -> None:
        answer = self.court.step("close", rid=rid, now_us=self.now)
        self.court.again("close", answer, rid=rid, now_us=self.now)

    @invariant()
    def lawful(self) -> None:
        if hasattr(self, "court"):
            assert not self.court.told, self.court.told[0]


TestMachine = Machine.TestCase
TestMachine.settings = settings(
    max_examples=40, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
