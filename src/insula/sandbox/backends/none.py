"""No wall: own uid, resource limits, control group, the same files; but the host's network and processes.

For debugging an agent on a machine that serves nobody else. Chosen only by name.
"""

from __future__ import annotations

import os
from typing import ClassVar, NoReturn

from insula.sandbox import syscalls
from insula.sandbox.backends.namespace import finish
from insula.sandbox.places import STAGE
from insula.sandbox.recipe import AGENT, Birth, Missing


class Unwalled:
    name: ClassVar[str] = "none"
    clone_flags: ClassVar[int] = 0
    seat_flags: ClassVar[int] = 0
    spare_pids: ClassVar[int] = 0
    speaks: ClassVar[bool] = False
    filtered: ClassVar[bool] = False

    def missing(self, bpf: bytes | None) -> list[Missing]:
        return []

    def enter(self, birth: Birth) -> NoReturn:
        flags = syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC
        syscalls.mount("proc", f"{STAGE}/proc", "proc", flags)
        os.chdir(STAGE)
        syscalls.pivot_root_here()
        os.chdir(AGENT)
        finish(birth, None)
