"""A process that keeps a ledger until it is killed: it says the number of each step that was answered."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from ledger_trace import Walk

from insula.governance.ledger.chronicle import Chronicle


def steps(seed: int) -> Any:
    """Yield the entries of a life without end; ``None`` where the journal may be written anew."""
    path = Walk(seed)
    limit, overdraft = path.limits()
    yield ["acme", "create", {"period": "000000", "limit": limit, "overdraft": overdraft}]
    while True:
        name, given = path.next()
        if "state" in given:
            given["state"] = str(given["state"])
        yield ["acme", name, given]


def main(directory: Path, seed: int) -> None:
    chronicle = Chronicle(directory, compact_bytes=8_000)
    chronicle.compact()
    for number, entry in enumerate(steps(seed), 1):
        chronicle.ask(entry)
        os.write(1, b"%d\n" % number)
        if number % 10 == 0:
            chronicle.tidy()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
