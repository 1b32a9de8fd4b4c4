"""The machine that is shared: model slots, memory for keys and values, sandbox slots.

The default is the service model of the VTC paper's workload as it is used for comparison here: a call holds
one slot for 0.5 ms per input token that is not cached and 20 ms per output token.
"""

from __future__ import annotations

from dataclasses import dataclass

from insula.simulation.work import Step


@dataclass(frozen=True, slots=True)
class Service:
    """How much there is, and how long a call takes.

    ``slots`` calls run at once, together holding at most ``kv_tokens`` tokens of keys and values.
    ``sandboxes`` runs run at once. ``input_us`` and ``output_us`` are microseconds per token.
    """

    slots: int = 8
    kv_tokens: int = 8 * 16_384
    sandboxes: int = 64
    input_us: int = 500
    output_us: int = 20_000

    def duration_us(self, step: Step) -> int:
        """Return how long the call holds its slot, at least 1."""
        return max(1, self.prefill_us(step) + step.output * self.output_us)

    def prefill_us(self, step: Step) -> int:
        """Return how long until the first output token."""
        return (step.prompt - step.cached) * self.input_us

    def output_after(self, step: Step, elapsed_us: int) -> int:
        """Return the output tokens made ``elapsed_us`` after the start."""
        return min(step.output, max(0, elapsed_us - self.prefill_us(step)) // self.output_us)
