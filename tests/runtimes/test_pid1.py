"""Pid 1's code, compiled once."""

import subprocess
import sys
from pathlib import Path

from insula.runtimes import compile_pid1


def test_compiled_once_and_sealed(tmp_path: Path) -> None:
    first = compile_pid1(tmp_path)
    assert compile_pid1(tmp_path) == first
    assert [path.name for path in tmp_path.iterdir()] == [first.name]
    assert {path.suffix for path in first.iterdir()} == {".pyc"}
    assert all(path.stat().st_mode & 0o777 == 0o444 for path in first.iterdir())


def test_it_loads_no_expensive_module(tmp_path: Path) -> None:
    """Each of these would delay every run by more than all of pid 1 costs."""
    script = tmp_path / "script.py"
    script.write_text("import sys; print(*sys.modules)")
    main = str(compile_pid1(tmp_path / "pid1") / "__main__.pyc")
    flags = ["-I"]
    done = subprocess.run(
        [sys.executable, *flags, main, "--", "python", str(script)],
        capture_output=True,
        text=True,
        check=True,
    )
    plain = subprocess.run([sys.executable, *flags, script], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) - set(plain.stdout.split()) == {"_socket"}
