"""A ledger that was put away and brought back answers as the one that was not."""

from __future__ import annotations

import json
import random

import pytest
from ledger_trace import Walk

from insula.governance.ledger import TenantLedger


@pytest.mark.parametrize("seed", range(12))
def test_a_restored_ledger_is_the_same_ledger(seed: int) -> None:
    path, cut = Walk(seed, cuts=True), random.Random(seed)
    kept = moved = TenantLedger("000000", *path.limits())
    for _ in range(300):
        if cut.random() < 0.1:
            moved = TenantLedger.restore(json.loads(json.dumps(moved.snapshot())))
        name, given = path.next()
        assert repr(getattr(moved, name)(**given)) == repr(getattr(kept, name)(**given))
        if moved is kept:
            moved = TenantLedger.restore(json.loads(json.dumps(moved.snapshot())))
    assert moved.snapshot() == kept.snapshot()


def test_the_same_steps_make_the_same_ledger() -> None:
    made = []
    for _ in range(2):
        path = Walk(7)
        ledger = TenantLedger("000000", *path.limits())
        for _ in range(300):
            name, given = path.next()
            getattr(ledger, name)(**given)
        made.append(json.dumps(ledger.snapshot()))
    assert made[0] == made[1]


def test_a_snapshot_of_another_version_is_refused() -> None:
    state = TenantLedger("2026-11", 10).snapshot() | {"version": 99}
    with pytest.raises(ValueError, match="version 99"):
        TenantLedger.restore(state)
