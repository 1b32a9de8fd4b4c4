"""Telemetry for an operator's collector: spans and metrics of calls and runs, made after they ended.

Off unless an address is set. No prompt, no answer and no credential is ever part of either. Needs the extra
``tracing``.
"""

from insula.telemetry.meters import Meters
from insula.telemetry.spans import Traces
from insula.telemetry.telemetry import Telemetry

__all__ = ["Meters", "Telemetry", "Traces"]
