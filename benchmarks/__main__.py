"""Run every benchmark, one after the other, on a quiet machine: `python -m benchmarks [NAME...]`."""

from __future__ import annotations

import subprocess
import sys

ALL = (
    "footprint",
    "sandbox_start",
    "runs",
    "gateway",
    "neighbour",
    "governor",
    "valkey",
    "books",
    "ledger",
    "fairness",
    "policy",
    "simulation",
    "ground",
)


def main() -> int:
    names = sys.argv[1:] or ALL
    worst = 0
    for name in names:
        print(f"== {name}", flush=True)
        worst = max(
            worst, subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=False).returncode
        )
        print(flush=True)
    return worst


if __name__ == "__main__":
    sys.exit(main())
