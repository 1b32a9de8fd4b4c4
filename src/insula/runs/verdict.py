"""Why a run ended, in one machine word, one sentence and one piece of advice. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from signal import Signals

from insula.runs.reservations import Shortage
from insula.runs.states import RunState, may_follow
from insula.tenancy.bounds import SandboxBounds


class Cause(StrEnum):
    """The machine word of an ending. The index carries it too, so it must never hold tenant data."""

    COMPLETED = "completed"
    EXIT_STATUS = "exit_status"
    SIGNALLED = "signalled"
    OUT_OF_MEMORY = "out_of_memory"
    OUTPUT_LIMIT = "output_limit"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    TENANT_SUSPENDED = "tenant_suspended"
    TENANT_DELETED = "tenant_deleted"
    ISOLATION_UNAVAILABLE = "isolation_unavailable"
    RUNTIME_UNKNOWN = "runtime_unknown"
    AGENT_UNKNOWN = "agent_unknown"
    AGENT_BROKEN = "agent_broken"
    BUDGET_EXHAUSTED = "budget_exhausted"
    BUDGET_RESERVED = "budget_reserved"
    INTERRUPTED = "interrupted"
    NEVER_STORED = "never_stored"
    SANDBOX_LOST = "sandbox_lost"
    START_FAILED = "start_failed"
    PLATFORM_FAULT = "platform_fault"


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a run ends."""

    state: RunState
    cause: Cause
    reason: str
    hint: str = ""

    def __post_init__(self) -> None:
        assert self.state.terminal

    def fit(self, before: RunState) -> Verdict:
        """Return a verdict that may follow ``before``: a run that was started once cannot be refused."""
        return self if may_follow(before, self.state) else replace(self, state=RunState.FAILED)


class Refused(Exception):
    """A run cannot be started at all."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict.reason)
        self.verdict = verdict


@dataclass(frozen=True, slots=True)
class Ending:
    """What the sandbox said when the agent was gone. ``reason`` is the sandbox's own word."""

    code: int | None
    signal: int | None
    reason: str


_SAID = {
    Cause.TENANT_SUSPENDED: "the tenant was suspended",
    Cause.TENANT_DELETED: "the tenant was deleted",
    Cause.NEVER_STORED: "the platform stopped before the run's input was stored; submit the run again",
    Cause.PLATFORM_FAULT: "the platform could not carry the run; its log has the details",
}


def said_of(cause: Cause) -> str:
    """Return words for an ending of which only the cause is known."""
    return _SAID.get(cause, cause.replace("_", " "))


def judge(ending: Ending, stop: Cause | None, bounds: SandboxBounds, timeout_s: float) -> Verdict:
    """Turn the end of a sandbox into a verdict.

    ``stop`` is set when the platform killed the agent; it decides, unless the agent had already gone by
    itself (an exit that won the race is reported as what it was).
    """
    if stop is not None and ending.reason != "exited":
        return stopped(stop, timeout_s)
    match ending.reason:
        case "timed_out":
            return stopped(Cause.TIMED_OUT, timeout_s)
        case "oom":
            return _out_of_memory(bounds)
        case "output_limit":
            return _output_limit(bounds)
        case "lost":
            return _lost()
        case "failed_to_start":
            return _not_started()
    return _exited(ending)


def stopped(cause: Cause, timeout_s: float) -> Verdict:
    """Return the verdict on a run that the platform ended."""
    match cause:
        case Cause.TIMED_OUT:
            return Verdict(
                RunState.TIMED_OUT,
                cause,
                f"the run reached its time limit of {timeout_s:g} s",
                "ask for a longer timeout, or raise timeout_s in agent.toml up to the tier's wall time",
            )
        case Cause.TENANT_SUSPENDED:
            return Verdict(
                RunState.CANCELLED,
                cause,
                "the tenant was suspended while the run was going",
                "resume the tenant and submit the run again",
            )
        case Cause.TENANT_DELETED:
            return Verdict(RunState.CANCELLED, cause, "the tenant was deleted while the run was going")
        case Cause.SANDBOX_LOST:
            return _lost()
        case Cause.INTERRUPTED:
            return interrupted()
    return cancelled()


def cancelled() -> Verdict:
    """Return the verdict on a run that somebody cancelled."""
    return Verdict(RunState.CANCELLED, Cause.CANCELLED, "the run was cancelled on request")


def refused(cause: Cause, reason: str, hint: str = "") -> Verdict:
    """Return the verdict on a run that was not started."""
    return Verdict(RunState.REFUSED, cause, reason, hint)


def without_tokens(shortage: Shortage) -> Verdict:
    """Return the verdict on a run for which no tokens could be set aside."""
    cause = Cause.BUDGET_EXHAUSTED if shortage.exhausted else Cause.BUDGET_RESERVED
    return refused(cause, shortage.reason, shortage.hint)


def waiting_stopped(cause: Cause) -> Verdict:
    """Return the verdict on a run that was stopped before it held a slot."""
    if cause is Cause.TENANT_SUSPENDED:
        return refused(cause, "the tenant is suspended", "resume the tenant and submit the run again")
    if cause is Cause.TENANT_DELETED:
        return refused(cause, "the tenant was deleted")
    return cancelled()


def interrupted(attempts: int | None = None) -> Verdict:
    """Return the verdict on a run that the platform's end cut short and that is not taken up again."""
    if attempts is None:
        return Verdict(
            RunState.FAILED,
            Cause.INTERRUPTED,
            "the platform stopped while the run was going, and the agent asks not to be started twice",
            'submit the run again; recovery = "restart" in agent.toml lets the platform do so by itself',
        )
    return Verdict(
        RunState.FAILED,
        Cause.INTERRUPTED,
        f"the platform stopped while the run was going, {attempts} times in a row",
        "look in the platform's log for what stops it; then submit the run again",
    )


def never_stored() -> Verdict:
    """Return the verdict on a run whose input never reached the disk: its caller got no answer."""
    return Verdict(
        RunState.FAILED,
        Cause.NEVER_STORED,
        "the platform stopped before the run's input was stored",
        "submit the run again",
    )


def platform_fault(error: str) -> Verdict:
    """Return the verdict on a run that failed through a defect of the platform. ``error``: a type's name."""
    return Verdict(
        RunState.FAILED,
        Cause.PLATFORM_FAULT,
        f"the platform could not carry the run ({error})",
        "the platform's log has the details under this run's id",
    )


def unable(message: str, hint: str) -> Verdict:
    """Return the verdict on a run for which the platform lacked something, in the platform's words."""
    return Verdict(RunState.FAILED, Cause.PLATFORM_FAULT, f"the run could not be carried: {message}", hint)


def _out_of_memory(bounds: SandboxBounds) -> Verdict:
    return Verdict(
        RunState.FAILED,
        Cause.OUT_OF_MEMORY,
        f"the agent used more memory than its limit of {bounds.memory_mib} MiB and was stopped",
        "use less memory, or raise memory_mib in agent.toml up to the tier's limit",
    )


def _output_limit(bounds: SandboxBounds) -> Verdict:
    return Verdict(
        RunState.FAILED,
        Cause.OUTPUT_LIMIT,
        f"the agent wrote more output than its limit of {bounds.output_bytes} bytes and was stopped",
        "write large data to an artifact instead of standard output",
    )


def _lost() -> Verdict:
    return Verdict(
        RunState.FAILED,
        Cause.SANDBOX_LOST,
        "the process that supervises sandboxes died under the run",
        "submit the run again; the platform has started a new supervisor",
    )


def _not_started() -> Verdict:
    return Verdict(
        RunState.FAILED,
        Cause.START_FAILED,
        "the sandbox could not start the agent",
        "check the entrypoint in agent.toml; insula doctor checks the host",
    )


def _exited(ending: Ending) -> Verdict:
    if ending.code == 0:
        return Verdict(RunState.SUCCEEDED, Cause.COMPLETED, "the agent finished")
    signal = _signal_of(ending)
    if signal is not None:
        return Verdict(
            RunState.FAILED,
            Cause.SIGNALLED,
            f"the agent was ended by signal {_signal_name(signal)}",
            "its last lines of output may say why",
        )
    return Verdict(
        RunState.FAILED,
        Cause.EXIT_STATUS,
        f"the agent exited with status {ending.code}",
        "its last lines of output may say why",
    )


def _signal_of(ending: Ending) -> int | None:
    if ending.signal is not None:
        return ending.signal
    # Pid 1 reports a child that died of a signal the way a shell does.
    if ending.code is not None and 128 < ending.code <= 128 + 64:
        return ending.code - 128
    return None


def _signal_name(number: int) -> str:
    try:
        return Signals(number).name
    except ValueError:
        return str(number)
