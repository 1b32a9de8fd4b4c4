"""Becomes the agent's program: in this very interpreter if it is a Python script, else by exec."""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:  # `typing` and `signal` would cost more than this whole file
    import signal as _signal
    from types import CodeType
    from typing import NoReturn
else:
    import _signal

_PYTHONS = ("python", "python3", f"python3.{sys.version_info.minor}")


def become(argv: list[str], home: str) -> None:
    """Run ``argv`` as if the system had started it. ``home`` is where pid 1's own modules lie.

    ``python script.py …`` continues in the interpreter that is already up, since starting another costs
    more than the whole rest of a sandbox's start; it returns when the script does, so that the interpreter
    ends as usual (exit handlers, threads). Anything else replaces the process.
    """
    if argv[0] in _PYTHONS and len(argv) > 1 and not argv[1].startswith("-"):
        run_script(argv, home)
    else:
        _exec(argv)


def run_script(argv: list[str], home: str) -> None:
    """Do what ``python script.py …`` does, and leave no trace of pid 1 in the modules or the path."""
    script = os.path.abspath(argv[1])  # noqa: PTH100
    code = _compiled(argv[0], script)
    for name in [name for name in sys.modules if name.startswith("insula_agent")]:
        del sys.modules[name]
    sys.argv = argv[1:]
    sys.orig_argv = list(argv)
    sys.path[:] = [entry for entry in sys.path if entry != home]
    if not sys.flags.safe_path:
        sys.path.insert(0, os.path.dirname(os.path.realpath(script)))  # noqa: PTH120
    try:
        exec(code, _fresh_main(script))  # noqa: S102 - this is what an interpreter is for
    except SystemExit:
        raise
    except BaseException as error:
        _report(error)


def _compiled(python: str, script: str) -> "CodeType":
    try:
        with open(script, "rb") as file:  # noqa: PTH123
            source = file.read()
    except OSError as error:
        sys.stderr.write(f"{python}: can't open file {script!r}: [Errno {error.errno}] {error.strerror}\n")
        sys.exit(2)
    try:
        return compile(source, script, "exec", dont_inherit=True)
    except SyntaxError as error:
        sys.excepthook(SyntaxError, error.with_traceback(None), None)
        sys.exit(1)


def _fresh_main(script: str) -> dict[str, object]:
    """A new ``__main__`` with the attributes that the interpreter gives to a script's."""
    module = type(sys)("__main__")
    loader = sys.modules["_frozen_importlib_external"].SourceFileLoader
    module.__dict__.update(
        __annotations__={},
        __builtins__=sys.modules["builtins"],
        __cached__=None,
        __file__=script,
        __loader__=loader("__main__", script),
    )
    sys.modules["__main__"] = module
    return module.__dict__


def _report(error: BaseException) -> "NoReturn":
    """Print an unhandled exception without the frames of this file, and exit as the interpreter would."""
    trace = error.__traceback__.tb_next if error.__traceback__ else None
    error = error.with_traceback(trace)
    sys.last_type, sys.last_value, sys.last_traceback = type(error), error, trace
    try:
        sys.excepthook(type(error), error, trace)
    except Exception:
        sys.__excepthook__(type(error), error, trace)
    sys.exit(130 if isinstance(error, KeyboardInterrupt) else 1)


def _exec(argv: list[str]) -> "NoReturn":
    for ignored in (_signal.SIGPIPE, _signal.SIGXFSZ):  # by Python; other programs expect them
        _signal.signal(ignored, _signal.SIG_DFL)
    try:
        os.execvp(argv[0], argv)  # noqa: S606
    except OSError as error:
        os.write(2, f"{argv[0]}: {error.strerror}\n".encode())
        os._exit(127 if isinstance(error, FileNotFoundError) else 126)
