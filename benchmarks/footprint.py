"""What the platform costs when nobody uses it: resident memory when idle, time of `insula --help`.

python -m benchmarks.footprint [--json]
"""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

INSULA = str(Path(sys.executable).with_name("insula"))
IDLE_MIB_MAX = 200
HELP_MS_MAX = 400


def help_ms(rounds: int = 15) -> float:
    """Return the median wall time of `insula --help` in milliseconds."""
    taken = []
    for _ in range(rounds + 1):
        begun = time.perf_counter()
        subprocess.run([INSULA, "--help"], check=True, stdout=subprocess.DEVNULL)
        taken.append((time.perf_counter() - begun) * 1000)
    return statistics.median(taken[1:])


def idle_mib(settle_s: float = 3.0) -> dict[str, float]:
    """Start a platform in a temporary home and return the resident memory of its processes in MiB."""
    with tempfile.TemporaryDirectory() as home:
        environment = {**os.environ, "INSULA_HOME": home}
        command = [INSULA, "up", "--port", "0", "--gateway-port", "0", "--trust", "internal", "--json"]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
        ) as up:
            try:
                assert up.stdout is not None
                json.loads(up.stdout.readline())
                time.sleep(settle_s)
                platform = psutil.Process(up.pid)
                return {
                    one.name() + f"[{index}]": one.memory_info().rss / 2**20
                    for index, one in enumerate([platform, *platform.children(recursive=True)])
                }
            finally:
                up.send_signal(signal.SIGTERM)
                up.wait(30)


def main() -> None:
    processes = idle_mib()
    figures = [
        {"name": "insula --help, p50", "value": round(help_ms(), 1), "unit": "ms", "bound": HELP_MS_MAX},
        {
            "name": f"idle platform, {len(processes)} processes, RSS",
            "value": round(sum(processes.values()), 1),
            "unit": "MiB",
            "bound": IDLE_MIB_MAX,
        },
    ]
    if "--json" in sys.argv:
        print(json.dumps({"figures": figures}))
        return
    for figure in figures:
        print(f"{figure['name']:<48} {figure['value']:>10} {figure['unit']:<6} (bound {figure['bound']})")


if __name__ == "__main__":
    main()
