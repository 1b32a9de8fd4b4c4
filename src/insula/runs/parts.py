"""What runs need of their neighbours, in their own words. The wiring hands in the real rooms."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

from insula.governance.fairness import FairQueue, Lane
from insula.identity import Authority, Sandboxes, Usage, VerifiedContext
from insula.kernel.clock import Clock
from insula.kernel.ids import RunId, TenantId
from insula.runs.blueprint import Blueprint
from insula.runs.book import Spaces
from insula.runs.failpoints import Reach, pass_by
from insula.runs.invocation import Invocation, unwatched
from insula.runs.record import RunRecord
from insula.runs.reservations import NoReservations, Reservations
from insula.storage import ControlDatabase, SealedFile
from insula.tenancy import Registry


class Chunk(Protocol):
    """A piece of output; ``stream`` is "stdout" or "stderr"."""

    @property
    def stream(self) -> str: ...
    @property
    def data(self) -> bytes: ...


class Exit(Protocol):
    """How a sandbox ended; ``memory_peak`` in bytes, ``problem`` for the operator's log."""

    @property
    def code(self) -> int | None: ...
    @property
    def signal(self) -> int | None: ...
    @property
    def reason(self) -> str: ...
    @property
    def cpu_s(self) -> float: ...
    @property
    def memory_peak(self) -> int: ...
    @property
    def problem(self) -> str: ...


class Artifact(Protocol):
    """A file that the agent left."""

    @property
    def name(self) -> str: ...
    @property
    def data(self) -> bytes: ...


class Harvest(Protocol):
    """What was found in the workspace, and what was left there, with the reason."""

    @property
    def result(self) -> bytes | None: ...
    @property
    def artifacts(self) -> Sequence[Artifact]: ...
    @property
    def skipped(self) -> Sequence[tuple[str, str]]: ...


class Receipt(Protocol):
    """What was checked after a sandbox was destroyed."""

    @property
    def clean(self) -> bool: ...


class Sandbox(Protocol):
    """A started sandbox. ``destroy`` may be called at any time and more than once."""

    @property
    def backend(self) -> Any: ...
    @property
    def output(self) -> AsyncIterator[Chunk]: ...
    async def wait(self) -> Exit: ...
    async def kill(self, reason: str) -> None: ...
    async def harvest(self) -> Harvest: ...
    async def destroy(self) -> Receipt: ...


class Door(Protocol):
    """A run's way out. ``close`` ends every call that still goes through it and waits for its settlement."""

    @property
    def path(self) -> Path: ...
    async def close(self) -> None: ...


OpenDoor = Callable[[int], Awaitable[Path]]
"""Called with the host uid that the sandbox will have; returns the path of a door that only it may use."""

Draw = Callable[[RunRecord, TenantId, SealedFile, bytes], Blueprint]
"""Resolves what one start of a run needs; the last argument is its input. Raises ``Refused``. Blocking."""

Launch = Callable[[VerifiedContext[Sandboxes], Blueprint, OpenDoor], Awaitable[Sandbox]]
"""Starts a sandbox. Raises ``IsolationUnavailable`` when the host cannot give the floor."""


class Doors(Protocol):
    """Makes doors. ``sweep`` removes those that a dead platform left."""

    def sweep(self) -> None: ...

    async def open(
        self,
        credential: Callable[[], str],
        *,
        run: RunId,
        agent: str,
        models: tuple[str, ...],
        uid: int | None,
        app: str | None = None,
        lane: Lane = Lane.INTERACTIVE,
    ) -> Door: ...


class Totals(Protocol):
    """What the calls of a run used."""

    @property
    def calls(self) -> int: ...
    @property
    def input_tokens(self) -> int: ...
    @property
    def output_tokens(self) -> int: ...
    @property
    def cost_nanousd(self) -> int: ...


RunTotal = Callable[[VerifiedContext[Usage], RunId], Awaitable[Totals]]


@dataclass(frozen=True, slots=True)
class RunParts:
    """Everything :class:`RunService` stands on. ``durable_path``: the library's SQLite file.

    ``turns`` decides who gets a slot next, by the tenants' ``weight``; ``lanes``: those of a tenant's tier.
    ``ended`` hears of each end once it is written; it must not wait or raise.
    """

    authority: Authority
    registry: Registry
    control: ControlDatabase
    spaces: Spaces
    draw: Draw
    launch: Launch
    doors: Doors
    run_total: RunTotal
    clock: Clock
    durable_path: Path
    slots: int
    reach: Reach = field(default=pass_by)
    reservations: Reservations = field(default_factory=NoReservations)
    turns: FairQueue = field(default_factory=FairQueue)
    weight: Callable[[str], int | Fraction] = field(default=lambda tenant: 1)
    lanes: Callable[[str], Collection[str]] = field(default=lambda tenant: tuple(Lane))
    ended: Callable[[Invocation], None] = field(default=unwatched)
