"""A real process that is killed at a random moment: what it had answered is there, and the accounts agree."""

from __future__ import annotations

import importlib.util
import itertools
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from insula.governance.ledger.journal import NAME, read
from insula.governance.ledger.replay import Kept, replay

MORTAL = Path(__file__).with_name("mortal.py")


def _steps(seed: int, count: int) -> list[Any]:
    spec = importlib.util.spec_from_file_location("ledger_mortal", MORTAL)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return list(itertools.islice(module.steps(seed), count))


def _kill_after(directory: Path, seed: int, lines: int) -> int:
    """Let the process answer at least ``lines`` steps, kill it, and return how many it had answered."""
    with subprocess.Popen(
        [sys.executable, str(MORTAL), str(directory), str(seed)], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        answered = 0
        for line in process.stdout:
            answered = int(line)
            if answered >= lines:
                break
        process.kill()
        for line in process.stdout:
            answered = int(line) if line.endswith(b"\n") else answered
    return answered


def _check(directory: Path, seed: int) -> None:
    answered = _kill_after(directory, seed, random.Random(seed).randrange(1, 600))
    found = read(directory / NAME)
    assert found.broken == ()
    kept = replay(found.entries)
    book = kept.ledgers["acme"].book
    assert book.limit == book.settled + book.reserved() + book.held() + book.free
    expected = Kept()
    states = []
    for number, entry in enumerate(_steps(seed, answered + 1), 1):
        expected.do(entry)
        if number >= answered:
            states.append(expected.ledgers["acme"].snapshot())
    assert kept.ledgers["acme"].snapshot() in states, f"{answered} steps were answered"


@pytest.mark.parametrize("seed", range(3))
def test_killed(tmp_path: Path, seed: int) -> None:
    _check(tmp_path, seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3, 33))
def test_killed_again_and_again(tmp_path: Path, seed: int) -> None:
    _check(tmp_path, seed)
