"""Workloads by name or by file: what ``insula sim --trace`` takes."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

from insula.kernel.errors import InvalidRequest
from insula.simulation import agents, servegen
from insula.simulation.reading import Request, read
from insula.simulation.service import Service
from insula.simulation.work import SECOND_US, Run, Step, Tenant, Workload

HERE = Path(__file__).parent / "traces"
FILES = {
    "arena": "vtc_arena_27_clients.csv",
    "azure": "azure_llm_2023_code.csv.gz",
    "mooncake": "mooncake_fast25_conversation.csv.gz",
}
CLIENTS = "servegen_deepseek_r1_73_clients.json.gz"
NAMES = ("arena", "azure", "mooncake", "servegen", "agents")
START_S = 9 * 3600
"""Time of day at which ServeGen's clients are taken up: most are busy then."""
LOAD = 1.2
"""Work asked for per work that can be done, where the size of the service is ours to choose."""


def workload(
    trace: str, seed: int, *, slots: int | None = None, tenants: int | None = None, hours: float | None = None
) -> tuple[Workload, Service]:
    """Return what a trace asks for, and the machine to serve it.

    ``trace`` is a name of ``NAMES`` or a file. Without ``slots`` there are 8 for the arena and the agents,
    elsewhere as many as make the trace ask for ``LOAD`` times what they can do. ``tenants`` is how many the
    clients are made into where the trace has none. Raises ``InvalidRequest`` or ``NotFound``.
    """
    name = trace if trace in NAMES else Path(trace).name
    rng = random.Random(f"{trace if trace in NAMES else 'file'}/{seed}")  # noqa: S311 - replayable on purpose
    if trace == "agents":
        service = _service(slots or 64)
        return agents.compose(
            servegen.load(HERE / CLIENTS),
            rng,
            tenants=tenants or 200,
            hours=hours or 1.0,
            load=0.8,
            service=service,
        ), service
    if trace == "servegen" or trace.endswith((".tar.gz", ".tgz")):
        path = HERE / CLIENTS if trace == "servegen" else Path(trace)
        made = _from_clients(servegen.load(path), rng, tenants, hours or 0.5, name)
    else:
        made = _from_requests(
            read(HERE / FILES[trace] if trace in FILES else Path(trace)), rng, tenants, name
        )
    return made, _service(slots or (8 if trace == "arena" else _enough(made)))


def _service(slots: int) -> Service:
    return Service(slots=slots, kv_tokens=slots * 16_384, sandboxes=slots * 4)


def _enough(made: Workload) -> int:
    """Return the slots that the workload keeps busy and a bit more."""
    service = Service()
    work_us = sum(service.duration_us(step) for run in made.runs for step in run.steps)
    return max(1, round(work_us / max(made.horizon_us, SECOND_US) / LOAD))


def _from_requests(requests: list[Request], rng: random.Random, tenants: int | None, name: str) -> Workload:
    if requests[0].client is None:
        requests = _shared_out(requests, rng, tenants or 40)
    elif tenants is not None:
        raise InvalidRequest(
            f"the trace {name} has tenants of its own", hint="leave --tenants out", field="--tenants"
        )
    runs = tuple(_plain(number, request) for number, request in enumerate(requests))
    return Workload(
        name, _source(name), runs, {name: Tenant() for name in sorted({run.tenant for run in runs})}
    )


def _shared_out(requests: list[Request], rng: random.Random, tenants: int) -> list[Request]:
    """Give each request to a tenant: a few have most of them (Zipf, exponent 1.2)."""
    names = [f"t{number:04d}" for number in range(tenants)]
    sizes = [1 / (rank + 1) ** 1.2 for rank in range(tenants)]
    drawn = rng.choices(names, sizes, k=len(requests))
    return [replace(request, client=name) for request, name in zip(requests, drawn, strict=True)]


def _from_clients(
    clients: list[servegen.Client], rng: random.Random, tenants: int | None, hours: float, name: str
) -> Workload:
    """One tenant for each client, or clients in turn when more tenants are wanted."""
    until_us = int(hours * 3600 * SECOND_US)
    count = tenants or len(clients)
    scale = len(clients) / max(count, len(clients))
    requests: list[Request] = []
    for number in range(count):
        client = clients[number % len(clients)]
        requests.extend(
            Request(at_us, *client.lengths(rng), 0, f"t{number:04d}")
            for at_us in client.arrivals(rng, scale, until_us, START_S)
        )
    requests.sort(key=lambda request: (request.at_us, request.client or ""))
    runs = tuple(_plain(number, request) for number, request in enumerate(requests))
    return Workload(name, _source(name), runs, {f"t{number:04d}": Tenant() for number in range(count)})


def _plain(number: int, request: Request) -> Run:
    step = Step(request.prompt, request.output, request.cached)
    return Run(f"r{number}", request.client or "", "app", request.at_us, (step,))


def _source(name: str) -> str:
    return FILES.get(name) or (CLIENTS if name == "servegen" else Path(name).name)
