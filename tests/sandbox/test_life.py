"""What each backend promises to whoever launches: streams, status, files, door, stop, receipt."""

from __future__ import annotations

import asyncio
import os
import socket
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from insula.identity import Gateway
from insula.kernel.errors import Denied, InvalidRequest, IsolationBreach, IsolationUnavailable
from insula.kernel.ids import TenantId
from insula.sandbox import SandboxSpec
from insula.sandbox.uids import carried_uids
from insula.tenancy import Rung, SandboxBounds, Tier, Trust, resolve


def test_streams_are_told_apart_and_input_is_read(ground: Any, backend: Rung) -> None:
    code = "import sys; print(sys.stdin.read()[::-1]); print('aside', file=sys.stderr); sys.exit(7)"
    ended = ground.python(backend, code, stdin=b"abc" * 1000)
    assert (ended.out, ended.err) == ("cba" * 1000 + "\n", "aside\n")
    assert (ended.exit.code, ended.exit.signal, ended.exit.reason) == (7, None, "exited")
    assert ended.exit.cpu_s > 0
    assert ended.exit.memory_peak > 1 << 20


def test_input_cannot_be_changed_or_grown(ground: Any, backend: Rung) -> None:
    code = "import os; f = os.open('/proc/self/fd/0', os.O_RDWR); os.ftruncate(f, 100)"
    ended = ground.python(backend, code, stdin=b"sealed")
    assert ended.exit.code == 1
    assert "Errno 1]" in ended.err or "Errno 13]" in ended.err


def test_the_agents_files_are_there_and_closed_to_change(ground: Any, backend: Rung) -> None:
    files = (
        SimpleNamespace(path="main.py", mode=0o644, data=b"x = 1\n"),
        SimpleNamespace(path="deep/er/tool", mode=0o755, data=b"#!/bin/sh\n"),
        SimpleNamespace(path="empty", mode=0o644, data=b""),
        SimpleNamespace(path="big", mode=0o644, data=b"z" * 3_000_000),
    )
    code = """
import os
print(os.getcwd(), sorted(os.path.join(w, n) for w, _, ns in os.walk('.') for n in ns))
print(oct(os.stat('deep/er/tool').st_mode), oct(os.stat('main.py').st_mode), os.path.getsize('big'))
for act in (lambda: open('new', 'w'), lambda: os.unlink('main.py'), lambda: os.chmod('main.py', 0o777)):
    try: act()
    except OSError as problem: print(problem.errno)
"""
    ended = ground.python(backend, code, files=files)
    assert ended.out.splitlines() == [
        "/agent ['./big', './deep/er/tool', './empty', './main.py']",
        "0o100555 0o100444 3000000",
        *["30"] * 3,
    ]


def test_a_large_agent_does_not_eat_the_workspace(ground: Any, backend: Rung) -> None:
    files = tuple(SimpleNamespace(path=f"d{n}/f", mode=0o644, data=b"y" * 50_000) for n in range(300))
    code = "open('/work/full', 'wb').write(b'x' * (15 << 20)); print('fits')"
    assert ground.python(backend, code, files=files).out == "fits\n"


def test_a_program_that_is_not_there_fails_and_says_so(ground: Any, backend: Rung) -> None:
    ended = ground.python(backend, "", command=("/usr/bin/nothing-here",))
    assert (ended.exit.code, ended.exit.signal, ended.exit.reason) == (None, None, "failed_to_start")
    assert "nothing-here" in ended.err


def test_a_runtime_that_is_not_there_fails_to_start_with_the_reason(ground: Any, backend: Rung) -> None:
    spec = replace(ground.spec("pass"), rootfs=Path("/nowhere/at/all"))

    async def run() -> Any:
        sandbox = await ground.launch(backend, spec)
        ended = await sandbox.wait()
        return ended, await sandbox.destroy()

    ended, receipt = ground.wait(run())
    assert ended.reason == "failed_to_start"
    assert "/nowhere/at/all" in ended.problem
    assert receipt.clean


def test_death_by_signal_is_told(ground: Any, backend: Rung) -> None:
    code = "import os, signal\nif os.fork() == 0: os.kill(os.getpid(), 9)\nos._exit(128 + 11)"
    ended = ground.python(backend, code)
    assert (ended.exit.code, ended.exit.signal, ended.exit.reason) == (None, 11, "exited")


def test_the_door_opens_for_its_own_uid_only(ground: Any, backend: Rung, tmp_path: Path) -> None:
    """The path lies under folders that only root may enter, and still works inside."""
    (tmp_path / "closed").mkdir(mode=0o700)
    path = tmp_path / "closed" / "door.sock"
    seen: dict[str, int] = {}

    async def run() -> Any:
        async def open_door(uid: int) -> Path:
            async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                peer = writer.get_extra_info("socket")
                seen["uid"] = int.from_bytes(peer.getsockopt(1, socket.SO_PEERCRED, 12)[4:8], "little")
                writer.write(await reader.readline())
                await writer.drain()
                writer.close()

            seen["lent"] = uid
            seen["server"] = await asyncio.start_unix_server(greet, path)  # type: ignore[assignment]
            path.chmod(0o600)
            os.chown(path, uid, uid)
            return path

        code = (
            "import socket; s = socket.socket(socket.AF_UNIX); s.connect('/run/insula/door.sock');"
            "s.sendall(b'knock\\n'); print(s.makefile().read())"
        )
        sandbox = await ground.launch(backend, ground.spec(code), open_door=open_door)
        out = b"".join([chunk.data async for chunk in sandbox.output])
        receipt = await sandbox.destroy()
        seen.pop("server").close()  # type: ignore[attr-defined]
        return sandbox.uid, out, receipt

    uid, out, receipt = ground.wait(run())
    assert out.split() == [b"knock"]
    assert seen == {"uid": uid, "lent": uid}
    assert receipt.clean


def test_the_host_sees_the_lent_uid_and_a_label_of_nothing(ground: Any, backend: Rung) -> None:
    async def run() -> Any:
        sandbox = await ground.launch(
            backend, ground.spec("print(1, flush=True); import time; time.sleep(60)")
        )
        await anext(aiter(sandbox.output))
        carried = sandbox.uid in carried_uids()
        await sandbox.kill("enough", grace_s=0)
        ended = await sandbox.wait()
        return carried, ended, await sandbox.destroy(), sandbox.uid in carried_uids()

    carried, ended, receipt, still = ground.wait(run())
    assert carried
    assert not still
    assert (ended.reason, ended.signal, ended.code) == ("enough", 9, None)
    assert receipt.clean


def test_a_polite_program_may_tidy_up_and_a_deaf_one_is_killed(ground: Any, backend: Rung) -> None:
    polite = """
import os, signal, sys, time
signal.signal(15, lambda *_: (os.write(1, b'tidy\\n'), os._exit(0)))
"""
    deaf = """
import signal, time
for n in range(1, 32):
    if n not in (9, 19): signal.signal(n, signal.SIG_IGN)
"""
    wait = "import os; os.write(1, b'up\\n')\nwhile True: time.sleep(1)"

    async def run(code: str) -> Any:
        sandbox = await ground.launch(backend, ground.spec(code + wait))
        output = aiter(sandbox.output)
        said = (await anext(output)).data
        await sandbox.kill("cancelled", grace_s=0.3)
        said += b"".join([chunk.data async for chunk in output])
        return said, await sandbox.wait(), await sandbox.destroy()

    said, ended, receipt = ground.wait(run(polite))
    assert said.split() == [b"up", b"tidy"]
    assert (ended.reason, ended.code) == ("cancelled", 0)
    assert receipt.clean
    said, ended, receipt = ground.wait(run(deaf))
    assert (ended.reason, ended.signal) == ("cancelled", 9)
    assert receipt.clean


def test_destroy_may_come_at_any_time_and_again(ground: Any, backend: Rung) -> None:
    async def run() -> Any:
        sandbox = await ground.launch(backend, ground.spec("import time; time.sleep(60)"))
        first, second = await asyncio.gather(sandbox.destroy(), sandbox.destroy())
        return first, second, await sandbox.destroy(), await sandbox.wait()

    first, second, third, ended = ground.wait(run())
    assert first == second == third
    assert first.clean
    assert ended.reason == "destroyed"


def test_a_launch_that_is_not_waited_for_leaves_nothing(ground: Any, backend: Rung) -> None:
    async def run() -> None:
        for pause in (0, 0, 0.0005, 0.001, 0.002, 0.004):
            task = asyncio.create_task(ground.launch(backend, ground.spec("import time; time.sleep(60)")))
            await asyncio.sleep(pause)
            task.cancel()
            done = (await asyncio.gather(task, return_exceptions=True))[0]
            if not isinstance(done, BaseException):
                await done.destroy()
        await asyncio.sleep(0.2)
        assert ground.fleet.live == 0

    ground.wait(run())


def test_only_the_runs_own_context_launches_it(ground: Any) -> None:
    spec = ground.spec("pass")
    profile = ground.profile(Rung.BUBBLEWRAP)
    other_run = ground.context(ground.new_run())
    stranger = replace(spec, tenant=TenantId("beta"))
    token = ground.authority.mint(spec.tenant, f"run/{spec.run}", Gateway, run=spec.run)
    elsewhere = ground.authority.verifier(Gateway).verify(token)
    for context, asked, refusal in (
        (other_run, spec, Denied),
        (ground.context(spec.run), stranger, Denied),
        (elsewhere, spec, Denied),
        (object(), spec, IsolationBreach),
    ):
        with pytest.raises(refusal):
            ground.wait(ground.fleet.launch(context, asked, profile))
    assert ground.fleet.live == 0


def test_bounds_wider_than_the_profiles_are_refused(ground: Any) -> None:
    spec = ground.spec("pass")
    wider = replace(spec, bounds=replace(spec.bounds, memory_mib=spec.bounds.memory_mib + 1))
    with pytest.raises(InvalidRequest) as refused:
        ground.wait(ground.fleet.launch(ground.context(spec.run), wider, ground.profile(Rung.BUBBLEWRAP)))
    assert refused.value.field == "memory_mib"


def test_a_floor_that_the_host_cannot_give_is_refused(ground: Any) -> None:
    spec = ground.spec("pass", bounds=resolve(Tier.FREE, Trust.SAAS).sandbox)
    with pytest.raises(IsolationUnavailable) as refused:
        ground.wait(ground.fleet.launch(ground.context(spec.run), spec, resolve(Tier.FREE, Trust.SAAS)))
    assert "gvisor" in refused.value.message
    assert refused.value.hint


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"command": ()}, "command"),
        ({"command": ("a\0b",)}, "command"),
        ({"command": ("a", "b" * 200_000)}, "command"),
        ({"environment": {"A=B": "c"}}, "environment"),
        ({"environment": {"A": "c\0"}}, "environment"),
        ({"environment": {"A": "c" * 200_000}}, "environment"),
        ({"rootfs": Path("relative")}, "rootfs"),
        ({"files": (SimpleNamespace(path="../x", mode=0o644, data=b""),)}, "files"),
        ({"files": (SimpleNamespace(path="/x", mode=0o644, data=b""),)}, "files"),
        ({"files": (SimpleNamespace(path="a//b", mode=0o644, data=b""),)}, "files"),
        ({"files": (SimpleNamespace(path="", mode=0o644, data=b""),)}, "files"),
        ({"files": (SimpleNamespace(path="./x", mode=0o644, data=b""),)}, "files"),
    ],
)
def test_a_malformed_spec_names_its_field(change: dict[str, Any], field: str) -> None:
    bounds = SandboxBounds(64, 16, 0.5, 16, 100, 1024, 10)
    good: dict[str, Any] = {"rootfs": Path("/"), "command": ("true",), "bounds": bounds}
    with pytest.raises(InvalidRequest) as refused:
        SandboxSpec(tenant=TenantId("a"), run="run_x", **(good | change))  # type: ignore[arg-type]
    assert refused.value.field == field
