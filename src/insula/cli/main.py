"""The program: parse, act, and end every failure with what is wrong and what to do."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from typer.exceptions import Abort, TyperException

from insula.cli.app import app
from insula.cli.exits import ExitCode, exit_code_of
from insula.kernel.errors import InsulaError


def main() -> NoReturn:
    """Run the command line of this process and exit."""
    sys.exit(run(sys.argv[1:]))


def run(words: Sequence[str]) -> int:
    """Run one command line; return its exit code. Expected failures never show a traceback."""
    try:
        code = app(args=list(words), prog_name="insula", standalone_mode=False)
        sys.stdout.flush()
    except InsulaError as error:
        return complain(error)
    except TyperException as error:
        _tell(error.format_message(), _help_hint(error))
        return error.exit_code
    except (KeyboardInterrupt, Abort):
        _tell("interrupted", "")
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.FAILED
    return code if isinstance(code, int) else ExitCode.OK


def complain(error: InsulaError) -> int:
    """Print ``error`` and its hint on stderr; return the exit code it means."""
    request_id = error.details.get("request_id")
    unexpected = type(error) is InsulaError and request_id
    _tell(error.message + (f" ({request_id})" if unexpected else ""), error.hint)
    return exit_code_of(error)


def _help_hint(error: TyperException) -> str:
    context = getattr(error, "ctx", None)
    return f"{context.command_path} --help" if context is not None else "insula --help"


def _tell(message: str, hint: str) -> None:
    coloured = sys.stderr.isatty() and "NO_COLOR" not in os.environ
    red, cyan, off = ("\x1b[1;31m", "\x1b[36m", "\x1b[0m") if coloured else ("", "", "")
    print(f"{red}error:{off} {message}", file=sys.stderr)  # noqa: T201
    if hint:
        print(f"{cyan}hint:{off} {hint}", file=sys.stderr)  # noqa: T201


if __name__ == "__main__":
    main()
