"""A weight that needs finer units changes how counters are kept, and nothing else."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from insula.governance.fairness import FairQueue, Item, Lane
from insula.governance.fairness.trial import Terms, Trial


class Interrupted(FairQueue):
    """A queue that hears of an odd weight before its n-th pick."""

    def __init__(self, at: int) -> None:
        super().__init__(batch_age_us=30_000)
        self.at, self.picks = at, 0

    def pick(self, now_us: int, fits: Callable[[Item], bool] | None = None) -> Item | None:
        self.picks += 1
        if self.picks == self.at:
            self.weigh("stranger", 13)
        return super().pick(now_us, fits)


@pytest.mark.parametrize("at", [1, 40, 200])
@pytest.mark.parametrize("room", [True, False])
def test_finer_units_change_no_choice_and_no_figure(at: int, room: bool) -> None:
    terms = Terms(steps=120, room=room, skip_budget=1)
    for seed in range(8):
        coarse, finer = Interrupted(0), Interrupted(at)
        logs = [Trial(queue, seed, terms) for queue in (coarse, finer)]
        for trial in logs:
            trial.run()
        assert logs[0].log == logs[1].log
        assert coarse.fairness() == finer.fairness()
        assert (finer._units > coarse._units) == (finer.picks >= at)


def test_odd_weights_are_served_in_proportion_after_the_change() -> None:
    queue = FairQueue()
    for n in range(120):
        for tenant in "ab":
            queue.enqueue(Item(f"{tenant}{n}", tenant, "f", Lane.INTERACTIVE, 10), 0)
    first = [queue.pick(0) for _ in range(20)]
    queue.weigh("a", 13)
    then = [queue.pick(0) for _ in range(56)]
    assert sum(item is not None and item.tenant == "a" for item in first) == 10
    assert sum(item is not None and item.tenant == "a" for item in then) == 52
