"""What the audience sees: progress while the agents run, a table at the end."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

from insula.cli import show
from insula.cli.demo.story import CAST, Role
from insula.cli.demo.verdict import ATTEMPTS, Shown, as_json, ok
from insula.cli.harmless import harmless

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

    from insula.cli.client import Event

TRY_NEXT = (
    "insula up --trust internal --local-model     the platform for yourself, in the foreground",
    "insula doctor                                what this host can isolate with",
    "insula tenant create acme --tier pro         in another terminal: your first tenant",
)


class JsonScreen:
    """Says each step on stderr, and nothing else: stdout belongs to the result."""

    def step(self, text: str) -> None:
        show.say(f"· {text}")

    def event(self, role: Role, event: Event) -> None:
        """Events are not shown."""

    def finish(self, shown: Sequence[Shown]) -> None:
        """Print the result, and say what did not hold."""
        show.as_json(as_json(shown))
        for row in shown:
            for problem in row.problems:
                show.say(f"{row.tenant}: {problem}")


class Screen:
    """On a terminal a live view of both runs; into a pipe one line for each line they print."""

    def __init__(self) -> None:
        self._states = {role.tenant: "" for role in CAST}
        self._lines = {role.tenant: "" for role in CAST}
        self._live: Live | None = None
        self._lock = threading.Lock()

    def step(self, text: str) -> None:
        if self._live:
            self._live.stop()
            self._live = None
        show.line(f"· {text}")
        if text.startswith("both run") and sys.stdout.isatty():
            self._begin()

    def event(self, role: Role, event: Event) -> None:
        with self._lock:
            if event.kind == "state":
                self._states[role.tenant] = event.data["state"]
                self._tell(role, event.data["state"])
            elif event.kind == "output":
                self._write(role, harmless(event.data["text"]))
            if self._live:
                self._live.update(self._drawn())

    def finish(self, shown: Sequence[Shown]) -> None:
        """Print the table, what did not hold, and what to do next."""
        show.table(["", *(row.tenant for row in shown)], _facts(shown))
        for row in shown:
            for name, reason in row.refused.items():
                show.line(f"  {row.tenant:8}{name:17}{reason}")
        for row in shown:
            for problem in row.problems:
                show.line(f"  {row.tenant:8}PROBLEM: {problem}")
        show.line("Every wall and every limit held." if ok(shown) else "Something did NOT hold: see above.")
        show.line("Try next:")
        for command in TRY_NEXT:
            show.line(f"  {command}")

    def _begin(self) -> None:
        from rich.live import Live

        self._live = Live(self._drawn(), console=show.console(), refresh_per_second=12)
        self._live.start()

    def _drawn(self) -> Table:
        from rich.table import Table
        from rich.text import Text

        drawn = Table.grid(padding=(0, 2))
        for role in CAST:
            state = self._states[role.tenant]
            last = self._lines[role.tenant].rstrip("\n").rpartition("\n")[2]
            style = show.STATE_STYLES.get(state, "")
            drawn.add_row(
                Text(role.tenant, style="bold"),
                Text(state, style=style),
                Text(last, no_wrap=True, overflow="ellipsis"),
            )
        return drawn

    def _tell(self, role: Role, text: str) -> None:
        if not self._live:
            show.line(f"  {role.tenant:8}{text}")

    def _write(self, role: Role, text: str) -> None:
        held = self._lines[role.tenant] + text
        *whole, rest = held.split("\n")
        for line in whole if not self._live else ():
            self._tell(role, line)
        self._lines[role.tenant] = held if self._live else rest


def _facts(shown: Sequence[Shown]) -> list[list[str]]:
    """One line a fact and one column a run, which fits a narrow terminal."""
    facts = {
        "run": [row.run for row in shown],
        "tier": [row.tier for row in shown],
        "backend": [row.backend for row in shown],
        "state": [row.state for row in shown],
        "tokens": [f"{row.input_tokens} in, {row.output_tokens} out" for row in shown],
        "cost": [f"${row.cost_usd:.6f}" for row in shown],
        "attempts": [f"{len(row.refused)} of {len(ATTEMPTS)} refused" for row in shown],
        "workspace": ["destroyed" if row.workspace_destroyed else "STILL THERE" for row in shown],
    }
    return [[name, *cells] for name, cells in facts.items()]
