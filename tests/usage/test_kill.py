"""kill -9: what was acknowledged is in the books, once; what was not may be, at most once."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from insula.storage import ControlDatabase
from insula.usage import Outbox, Recorder
from insula.usage.adapters.sql import SqlBooks

CHILD = """
import asyncio, itertools, os, sys
from pathlib import Path
from insula.storage import ControlDatabase
from insula.usage import Outbox, Recorder, UsageEvent
from insula.usage.adapters.sql import SqlBooks

async def main(home, life):
    books = SqlBooks(ControlDatabase(home / "c.db"))
    recorder = Recorder(Outbox(home / "usage", segment_bytes=16384), books, linger_s=0.002)
    await recorder.start()
    async def call(lane):
        for number in itertools.count():
            name = f"evt_{life}_{lane}_{number}"
            await recorder.record(UsageEvent(event_id=name, tenant_id="acme", request_id="r", provider="p",
                model_id="m", timestamp=1.0, started_at=1.0, input_tokens=1, output_tokens=1, cost_nanousd=7))
            os.write(3, f"{name}\\n".encode())
    await asyncio.gather(*(call(lane) for lane in range(8)))

asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
"""


def live_and_die(home: Path, life: int, after: int) -> set[str]:
    """Run a platform's worth of recording, kill it after so many acknowledgements; return those."""
    heard, told = os.pipe()
    script = CHILD.replace("os.write(3", f"os.write({told}")
    child = subprocess.Popen([sys.executable, "-c", script, str(home), str(life)], pass_fds=[told])
    os.close(told)
    with open(heard, "rb") as lines:
        acknowledged = [lines.readline() for _ in range(after)]
        os.kill(child.pid, signal.SIGKILL)
        acknowledged += lines.readlines()
    child.wait()
    return {line.decode().strip() for line in acknowledged if line.endswith(b"\n")}


def test_acknowledged_events_are_booked_exactly_once(tmp_path: Path) -> None:
    acknowledged: set[str] = set()
    draw = random.Random(7)
    for life in range(4):
        acknowledged |= live_and_die(tmp_path, life, draw.randrange(1, 400))

    async def replay() -> Any:
        control = ControlDatabase(tmp_path / "c.db")
        books = SqlBooks(control)
        recorder = Recorder(Outbox(tmp_path / "usage"), books)
        await recorder.start()
        await recorder.stop()
        with control.read() as connection:
            ids = list(connection.exec_driver_sql("SELECT event_id FROM usage_events").scalars())
        rows = books.periods("acme")
        control.close()
        return ids, rows

    ids, rows = asyncio.run(replay())
    assert acknowledged <= set(ids)
    assert len(ids) == len(set(ids)) <= len(acknowledged) + 4 * 8, "at most the call each lane was making"
    assert sum(row.calls for row in rows) == len(ids), "totals and events agree"
    assert sum(row.cost_nanousd for row in rows) == 7 * len(ids)
    assert list((tmp_path / "usage").glob("*.journal")) == []
