"""Signals reach the program, the dead are reaped, the status is the program's."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest


def script(tmp_path: Path, text: str) -> tuple[str, str]:
    (tmp_path / "script.py").write_text(text)
    return "python", "script.py"


def first_line(process: subprocess.Popen[bytes]) -> bytes:
    assert process.stdout
    return process.stdout.readline().strip()


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGQUIT"])
def test_signals_reach_the_program(start, tmp_path: Path, name: str) -> None:  # type: ignore[no-untyped-def]
    text = f"import signal, sys, time\nsignal.signal(signal.{name}, lambda n, f: sys.exit(40 + n))\n"
    process = start(*script(tmp_path, text + "print(1, flush=True)\nwhile True: time.sleep(1)"))
    assert first_line(process) == b"1"
    process.send_signal(getattr(signal, name))
    assert process.wait(timeout=30) == 40 + getattr(signal, name)


def test_a_program_ended_by_a_signal(start, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    for name in ("SIGKILL", "SIGTERM", "SIGSEGV"):
        process = start(*script(tmp_path, f"import os, signal; os.kill(os.getpid(), signal.{name})"))
        assert process.wait(timeout=30) == 128 + getattr(signal, name)


def test_an_interrupted_script(start, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    process = start(*script(tmp_path, "import time\nprint(1, flush=True)\nwhile True: time.sleep(1)"))
    first_line(process)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 130


def test_the_program_starts_with_ordinary_signals(start, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    status = "print(*[l for l in open('/proc/self/status') if l.startswith(('SigBlk', 'SigIgn', 'SigCgt'))])"
    plain = subprocess.run(["python3", "-c", status], capture_output=True, check=True).stdout
    inside = start(*script(tmp_path, status))
    look = ("grep", "-E", "SigBlk|SigIgn", "/proc/self/status")
    executed = start(*look)
    assert inside.communicate(timeout=30)[0] == plain
    assert executed.communicate(timeout=30)[0] == subprocess.run(look, capture_output=True, check=True).stdout


def test_no_descriptor_is_handed_down(start, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    text = "import os; print([f for f in range(3, 64) if os.path.exists(f'/proc/self/fd/{f}')])"
    assert start(*script(tmp_path, text)).communicate(timeout=30)[0].strip() == b"[]"


def test_orphans_do_not_delay_the_end(start, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    text = (
        "import os, time\n"
        "for _ in range(3):\n"
        "    if not os.fork():\n"
        "        time.sleep(300 if os.fork() else 301)\n"
        "print(os.getpgid(0), flush=True)\nos._exit(5)"
    )
    process = start("setsid", "-w", "python3", *script(tmp_path, text)[1:])
    group = int(first_line(process))
    began = time.monotonic()
    assert process.wait(timeout=30) == 5
    assert time.monotonic() - began < 5
    os.killpg(group, signal.SIGKILL)
