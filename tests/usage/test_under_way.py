"""Calls under way: a crash leaves them to be billed, once, by what they are known to have used."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from insula.usage import Sent, UnderWay, Used

NOW = 1_790_000_000.0


def sent(name: str, output: int = 0) -> Sent:
    return Sent(
        f"req_{name}", "acme", "web", "", "", "key/k", "openai", "main", "m1", "interactive",
        NOW - 5, "openai:1", "p1", used(output),
    )  # fmt: skip


def used(output: int) -> Used:
    return Used(20, output, 20, output, 20 + output, 7 + output)


def test_what_was_under_way_is_billed_by_its_last_line(tmp_path: Path) -> None:
    calls = UnderWay(tmp_path)
    calls.begin()
    for name in ("a", "b", "c"):
        calls.sent(sent(name))
    calls.progressed("req_b", used(64))
    calls.progressed("req_b", used(128))
    calls.ended("req_a")
    calls.progressed("req_a", used(999))  # too late: it has ended
    calls.close()
    events = {event.event_id: event for event in UnderWay(tmp_path).recover(NOW)}
    assert set(events) == {"req_b", "req_c"}
    event = events["req_b"]
    assert (event.input_tokens, event.output_tokens, event.quota_tokens, event.cost_nanousd) == (
        20,
        128,
        148,
        135,
    )
    assert (event.stream_end, event.usage_source, event.app_id) == ("platform_crash", "estimated", "web")
    assert events["req_c"].output_tokens == 0


def test_recovering_twice_tells_the_same_until_begun_anew(tmp_path: Path) -> None:
    calls = UnderWay(tmp_path)
    calls.begin()
    calls.sent(sent("a"))
    calls.close()
    again = UnderWay(tmp_path)
    assert again.recover(NOW) == again.recover(NOW) != []
    again.begin()
    again.close()
    assert UnderWay(tmp_path).recover(NOW) == []


def test_the_file_grows_with_calls_at_once_and_slots_are_used_again(tmp_path: Path) -> None:
    calls = UnderWay(tmp_path)
    calls.begin()
    calls.sent(sent("open"))
    for number in range(5_000):
        calls.sent(sent(str(number)))
        calls.ended(f"req_{number}")
    small = (tmp_path / "under-way.map").stat().st_size
    for number in range(1_000):
        calls.sent(sent(f"many{number}"))
    calls.close()
    assert small < 1024 * 1024 < (tmp_path / "under-way.map").stat().st_size
    left = {event.event_id for event in UnderWay(tmp_path).recover(NOW)}
    assert left == {"req_open", *(f"req_many{number}" for number in range(1_000))}


def test_a_killed_process_loses_no_call(tmp_path: Path) -> None:
    script = textwrap.dedent(f"""
        import os, signal
        from pathlib import Path
        from insula.usage import Sent, UnderWay, Used
        calls = UnderWay(Path({str(tmp_path)!r}))
        calls.begin()
        for number in range(500):
            used = Used(20, 0, 20, 0, 20, 7)
            calls.sent(
                Sent(f"req_{{number}}", "acme", "", "", "", "", "up", "main", "m1", "", 1.0, "", "p", used)
            )
            if number % 2:
                calls.ended(f"req_{{number}}")
        os.kill(os.getpid(), signal.SIGKILL)
    """)
    assert subprocess.run([sys.executable, "-c", script], check=False, env=dict(os.environ)).returncode == -9
    left = {event.event_id for event in UnderWay(tmp_path).recover(NOW)}
    assert left == {f"req_{number}" for number in range(0, 500, 2)}


@pytest.mark.parametrize("cut", [0, 3, 8, 40, 2_048 - 20, 2_048 - 90])
def test_a_slot_that_was_half_written_is_left_out_or_falls_back(tmp_path: Path, cut: int) -> None:
    calls = UnderWay(tmp_path)
    calls.begin()
    calls.sent(sent("a"))
    calls.sent(sent("b"))
    calls.progressed("req_a", used(64))
    calls.close()
    path = tmp_path / "under-way.map"
    data = bytearray(path.read_bytes())
    data[cut] ^= 0xFF
    path.write_bytes(data)
    found = {event.event_id: event.output_tokens for event in UnderWay(tmp_path).recover(NOW)}
    assert found["req_b"] == 0
    assert found.get("req_a") in ((64,) if cut == 2_048 - 90 else (0,) if cut == 2_048 - 20 else (None,))
