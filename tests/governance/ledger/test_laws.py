"""The laws, each by its name, on random traces."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from ledger_trace import LAWS, walk

FAST, SLOW, STEPS = 16, 480, 300

MEANT = {
    "L1": "every token is in exactly one account",
    "L2": "accounts stay in their bounds; only what has happened goes below the overdraft",
    "L3": "lending digs into no floor and takes from no neighbour",
    "L4": "nothing is free while somebody is owed",
    "L5": "what is released is released once, what is used is debited once",
    "L6": "the same operation again changes nothing and is answered the same",
    "L8": "children never have more than their parent",
    "L9": "a refusal is given exactly when there is too little",
    "L10": "what a call was told it may use, it holds; so checked calls never pass limit and overdraft",
}


def _verdicts(seeds: range) -> tuple[Counter[str], dict[str, str]]:
    breaches: Counter[str] = Counter()
    first: dict[str, str] = {}
    for seed in seeds:
        court = walk(seed, STEPS)
        breaches += court.breaches
        for told in court.told:
            first.setdefault(told.split()[0], f"seed {seed}: {told}")
    return breaches, first


@pytest.fixture(scope="module")
def some() -> Any:
    return _verdicts(range(FAST))


@pytest.fixture(scope="module")
def many() -> Any:
    return _verdicts(range(FAST, FAST + SLOW))


@pytest.mark.parametrize("law", LAWS)
def test_law(law: str, some: Any) -> None:
    breaches, first = some
    assert not breaches[law], f"{MEANT[law]}: {first[law]}"


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("law", LAWS)
def test_law_at_length(law: str, many: Any) -> None:
    breaches, first = many
    assert not breaches[law], f"{MEANT[law]}: {first[law]}"
