"""Tenants, agents and faults, simulated: the real queue, governor and ledger under made or recorded loads.

Deterministic: the same workload, seed and policy give the same figures. Everything that the specification
promises is checked while it runs, by books that share no code with what they check.
"""

from insula.simulation.engine import Outcome, Setup, simulate
from insula.simulation.policies import POLICIES, Policy
from insula.simulation.report import report
from insula.simulation.workloads import NAMES, workload

__all__ = ["NAMES", "POLICIES", "Outcome", "Policy", "Setup", "report", "simulate", "workload"]
