"""Exit codes: one table that the program, the help topic and the reference read."""

from __future__ import annotations

from enum import IntEnum

from insula.kernel.errors import InsulaError


class ExitCode(IntEnum):
    OK = 0
    FAILED = 1
    USAGE = 2
    PROBLEMS_FOUND = 3
    DENIED = 4
    INTERRUPTED = 130


MEANINGS: dict[ExitCode, str] = {
    ExitCode.OK: "Done. For `insula run`: the run succeeded.",
    ExitCode.FAILED: "It did not work: the run did not succeed, something is not there, no platform runs.",
    ExitCode.USAGE: "The command or the request was malformed; the message names the field.",
    ExitCode.PROBLEMS_FOUND: (
        "A check ran to its end and found problems (`doctor`, `audit verify`, `ledger check`); "
        "`policy test`: a refusal."
    ),
    ExitCode.DENIED: "No credential, or one without the right.",
    ExitCode.INTERRUPTED: "Interrupted with Ctrl-C.",
}


def exit_code_of(error: InsulaError) -> ExitCode:
    """Return the exit code that ``error`` means. A limit, a conflict or an outage is a plain failure."""
    return ExitCode(error.exit_code)
