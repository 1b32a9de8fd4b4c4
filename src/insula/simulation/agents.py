"""Agents at work, made up: no public trace tells tenants, agents and tools apart, so they are composed.

Who arrives when, and how long calls are, is drawn from ServeGen's real clients. What one run does is drawn
from the seed: a graph of 3 to 30 calls, with pauses in tools, waits for people, and sub-agents that work
side by side. The same seed gives the same workload, always.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from insula.simulation.servegen import WINDOW_S, Client
from insula.simulation.service import Service
from insula.simulation.work import SECOND_US, Run, Step, Tenant, Workload

FEWEST, MOST = 3, 30
HUMAN = 0.5
"""Share of runs that wait for a person once."""
SUB_AGENTS = 0.35
"""Share of runs that start sub-agents."""
BATCH = 0.3
"""Share of runs that are in no hurry."""
BUDGETED = 1 / 3
"""Share of tenants with a budget of tokens for the day."""
LONGEST_OUTPUT = 4096

TIERS = (
    ("free", 0.6, Tenant(1, 60_000, 20_000)),
    ("pro", 0.3, Tenant(4, 240_000)),
    ("enterprise", 0.1, Tenant(8)),
)
"""Name, share of the tenants, and what the tier comes with."""


def graph(client: Client, rng: random.Random) -> tuple[Step, ...]:
    """Return one run's steps.

    The number of calls is geometric between 3 and 30. A run is a chain; some start two to four sub-agents
    after a step, which work side by side until the chain goes on with their results.
    """
    total = FEWEST
    while total < MOST and rng.random() < 0.8:
        total += 1
    steps = [_step(client, rng, (), 0)]
    while len(steps) < total:
        left = total - len(steps)
        if left >= 4 and rng.random() < SUB_AGENTS / 3:
            _fan_out(steps, client, rng, left)
        else:
            steps.append(_step(client, rng, (len(steps) - 1,), 0))
    if rng.random() < HUMAN:
        place = rng.randrange(1, len(steps))
        steps[place] = replace(steps[place], human_us=_seconds(rng, 300))
    return tuple(steps)


def compose(
    clients: Sequence[Client],
    rng: random.Random,
    *,
    tenants: int,
    hours: float,
    load: float,
    service: Service,
) -> Workload:
    """Return runs of ``tenants`` tenants over ``hours``, together asking for ``load`` of the model slots.

    Each tenant behaves like one client, in turn, from a time of day at which that client is busy. A tenant's
    size is drawn from a Pareto distribution, so a few are large and most are small; the
    smallest have one run.
    """
    until_us = int(hours * 3600 * SECOND_US)
    names = [f"t{number:04d}" for number in range(tenants)]
    sizes = [min(50.0, rng.paretovariate(1.5)) for _ in names]
    means = [_mean_us(client, rng, service) for client in clients]
    runs: list[Run] = []
    for number, (name, size) in enumerate(zip(names, sizes, strict=True)):
        client = clients[number % len(clients)]
        wanted = load * service.slots * SECOND_US / means[number % len(clients)]
        start_s = rng.choice(client.busy()) * WINDOW_S
        scale = wanted * size / sum(sizes) / client.mean_rate(start_s, hours * 3600)
        arrivals = list(client.arrivals(rng, scale, until_us, start_s)) or [rng.randrange(until_us)]
        for count, at_us in enumerate(arrivals):
            agent = f"agent{rng.randrange(3)}"
            run = Run(f"{name}.{count}", name, agent, at_us, graph(client, rng), rng.random() < BATCH, True)
            runs.append(run)
    runs.sort(key=lambda run: (run.at_us, run.id))
    return Workload("agents", "composed from ServeGen clients", tuple(runs), _tenants(names, runs, rng))


def _mean_us(client: Client, rng: random.Random, service: Service) -> int:
    """Return about how long a client's runs hold a slot, all their calls together."""
    sample = [graph(client, rng) for _ in range(20)]
    return sum(service.duration_us(step) for steps in sample for step in steps) // len(sample)


def _tenants(names: Sequence[str], runs: Sequence[Run], rng: random.Random) -> dict[str, Tenant]:
    """Give each tenant a tier, and a third of them a budget near what their runs will need."""
    needed = Counter(dict.fromkeys(names, 0))
    for run in runs:
        needed[run.tenant] += sum(step.tokens for step in run.steps)
    shares = [share for _, share, _ in TIERS]
    tenants = {}
    for name in names:
        tier = rng.choices(TIERS, shares)[0][2]
        budget = max(50_000, round(needed[name] * rng.uniform(0.9, 1.5))) if rng.random() < BUDGETED else None
        tenants[name] = replace(tier, period_tokens=budget)
    return tenants


def _fan_out(steps: list[Step], client: Client, rng: random.Random, left: int) -> None:
    """Add two to four sub-agents of one or two calls each, and the call that takes up their results."""
    root, ends = len(steps) - 1, []
    for agent in range(1, rng.randint(2, min(4, left - 1)) + 1):
        if len(steps) - root >= left:
            break
        steps.append(_step(client, rng, (root,), agent))
        if len(steps) - root < left and rng.random() < 0.5:
            steps.append(_step(client, rng, (len(steps) - 1,), agent))
        ends.append(len(steps) - 1)
    steps.append(_step(client, rng, tuple(ends), 0))


def _step(client: Client, rng: random.Random, needs: tuple[int, ...], agent: int) -> Step:
    prompt, output = client.lengths(rng)
    tool_us = _seconds(rng, 4) if needs and rng.random() < 0.7 else 0
    return Step(prompt, min(output, LONGEST_OUTPUT), 0, needs, tool_us, 0, agent)


def _seconds(rng: random.Random, mean: float) -> int:
    """Draw a time of that mean, exponentially, at least a tenth of a second."""
    return max(SECOND_US // 10, int(rng.expovariate(1 / mean) * SECOND_US))
