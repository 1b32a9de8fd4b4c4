"""What must hold in every simulation, checked by books that share no code with what they check."""

from insula.simulation.checks.books import Books, Usage
from insula.simulation.checks.bound import BucketBound
from insula.simulation.checks.gap import Gap
from insula.simulation.checks.limits import LimitChecks
from insula.simulation.checks.order import OrderChecks
from insula.simulation.checks.violations import Violations

__all__ = ["Books", "BucketBound", "Gap", "LimitChecks", "OrderChecks", "Usage", "Violations"]
