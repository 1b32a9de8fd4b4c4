"""A script below pid 1 sees what it sees below ``python script.py``; other programs are executed."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = {
    "arguments": "import sys; print(sys.argv, sys.orig_argv[1:])",
    "identity": "print(__name__, __file__, __spec__, __package__, type(__loader__).__name__, __doc__)",
    "main module": "import sys; x = 3; print(sys.modules['__main__'].x, sorted(globals()))",
    "path": "import sys; print(sys.path[0], len(sys.path)); import neighbour",
    "shadowed names": "import relay, program, init; print(relay.mine, program.mine, init.mine)",
    "no trace": "import sys; print([n for n in (*sys.modules, *sys.path) if 'insula_agent' in n])",
    "stdin": "import sys; print(sys.stdin.read())",
    "exit code": "import sys; print('out'); sys.exit(7)",
    "exit message": "import sys; sys.exit('said on leaving')",
    "exit none": "raise SystemExit",
    "exception": "def f():\n    return 1 / 0\nf()",
    "exception group": "raise ExceptionGroup('g', [ValueError(1), TypeError(2)])",
    "chained": "try:\n    1 / 0\nexcept ZeroDivisionError as error:\n    raise ValueError('x') from error",
    "custom hook": "import sys\nsys.excepthook = lambda *a: print('hook', a[0].__name__)\n1 / 0",
    "syntax": "print('never')\nx = = 1",
    "encoding": "# -*- coding: latin-1 -*-\nprint(ascii('\xe4'))",
    "at exit": "import atexit; atexit.register(print, 'bye'); print('hi')",
    "threads": "import threading as t, time\nt.Thread(target=lambda: print(time.sleep(0.1))).start()",
    "unflushed": "import sys; sys.stdout.write('x' * 100_000)",
    "fork": "import os; pid = os.fork(); os._exit(0) if not pid else print(os.waitpid(pid, 0)[1])",
    "processes": (
        "import multiprocessing as m\ndef double(n): return 2 * n\n"
        "if __name__ == '__main__':\n    with m.get_context('spawn').Pool(1) as p: print(p.map(double, [2]))"
    ),
    "pickling": "import pickle\nclass C: pass\nprint(type(pickle.loads(pickle.dumps(C()))).__module__)",
    "asyncio": "import asyncio\nasync def f(): await asyncio.sleep(0); return 3\nprint(asyncio.run(f()))",
    "annotations": "x: int = 1\nprint(__annotations__)",
    "deprecations": "import warnings; warnings.warn('old', DeprecationWarning)",
    "closed standard streams": "import sys; sys.stdout.close()",
}


def run(argv: list[str], cwd: Path) -> tuple[int, bytes, bytes]:
    done = subprocess.run(argv, cwd=cwd, input=b"given", capture_output=True, timeout=60)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("case", SCRIPTS)
def test_a_script_behaves_as_if_started_plainly(case: str, pid1: tuple[str, ...], tmp_path: Path) -> None:
    coding = "latin-1" if case == "encoding" else "utf-8"
    (tmp_path / "script.py").write_text(SCRIPTS[case], encoding=coding)
    for name in ("relay", "program", "init", "neighbour"):
        (tmp_path / f"{name}.py").write_text("mine = True")
    plain = run([sys.executable, "script.py", "-a", "b c"], tmp_path)
    below = run([*pid1, "python", "script.py", "-a", "b c"], tmp_path)
    assert below == plain


def test_a_missing_script(pid1: tuple[str, ...], tmp_path: Path) -> None:
    code, _, said = run([*pid1, "python", "none.py"], tmp_path)
    assert code == 2
    assert b"can't open file" in said


def test_other_programs_are_executed(start) -> None:  # type: ignore[no-untyped-def]
    assert start("sh", "-c", "echo hello; exit 3").communicate(timeout=30)[0] == b"hello\n"
    assert start("sh", "-c", "exit 3").wait(timeout=30) == 3
    assert start(sys.executable, "-c", "print(6 * 7)").communicate(timeout=30)[0] == b"42\n"
    assert start("python3", "-m", "platform").wait(timeout=30) == 0


def test_programs_that_cannot_be_executed(start, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "data").write_text("not a program")
    assert start("./none").wait(timeout=30) == 127
    assert start("./data").wait(timeout=30) == 126


def test_usage_is_said(pid1: tuple[str, ...]) -> None:
    for argv in (pid1, pid1[:-1], (*pid1[:-1], "python")):
        done = subprocess.run(argv, capture_output=True, timeout=30)
        assert done.returncode == 1
        assert b"usage" in done.stderr
