"""Control groups, version 1: one hierarchy per controller, our groups below our own in each."""

from __future__ import annotations

from pathlib import Path

from insula.sandbox.cgroups import files
from insula.sandbox.cgroups.group import Used
from insula.sandbox.cgroups.layout import Layout
from insula.sandbox.limits import Limits

CONTROLLERS = ("memory", "pids", "cpu", "cpuacct")
_SOCKET_LIMIT = "memory.kmem.tcp.limit_in_bytes"
_PERIOD_US = 100_000


class V1Groups:
    """Holds ``<own group>/<name>/`` in each hierarchy."""

    def __init__(self, layout: Layout, name: str) -> None:
        # cpu and cpuacct are often one hierarchy: keep each directory once.
        self._bases = {controller: layout.v1[controller] / name for controller in CONTROLLERS}
        for place in self.places():
            files.make(place)
        # The kernel counts socket memory as long as some group has a limit: this one has none, but stays.
        files.write_if_present(f"{self._bases['memory']}/{_SOCKET_LIMIT}", "-1")

    def make(self, name: str) -> V1Group:
        return V1Group({controller: f"{base}/{name}" for controller, base in self._bases.items()})

    def places(self) -> list[Path]:
        return list(dict.fromkeys(self._bases.values()))

    def close(self) -> None:
        for place in self.places():
            files.remove(str(place))


class V1Group:
    """One sandbox's group: a directory in each hierarchy."""

    def __init__(self, folders: dict[str, str]) -> None:
        self._memory, self._pids = folders["memory"], folders["pids"]
        self._cpu, self._cpuacct = folders["cpu"], folders["cpuacct"]
        self._folders = tuple(dict.fromkeys(folders.values()))
        for folder in self._folders:
            Path(folder).mkdir(mode=0o755)

    def limit(self, limits: Limits, spare_pids: int) -> None:
        files.write(f"{self._memory}/memory.limit_in_bytes", str(limits.resident))
        files.write_if_present(f"{self._memory}/memory.memsw.limit_in_bytes", str(limits.resident))
        files.write_if_present(f"{self._memory}/memory.swappiness", "0")
        files.write_if_present(f"{self._memory}/{_SOCKET_LIMIT}", str(limits.sockets))
        files.write(f"{self._pids}/pids.max", str(limits.pids + spare_pids))
        files.write(f"{self._cpu}/cpu.cfs_period_us", str(_PERIOD_US))
        files.write(f"{self._cpu}/cpu.cfs_quota_us", str(max(1000, int(limits.cpus * _PERIOD_US))))

    def join(self) -> None:
        for folder in self._folders:
            files.write(f"{folder}/cgroup.procs", "0")

    def pids(self) -> list[int]:
        return files.pids(self._pids)

    def kill(self) -> None:
        # With no new process allowed, one pass over the list reaches all that will ever be there.
        files.write_if_present(f"{self._pids}/pids.max", "0")
        files.kill_each(self._pids)

    def used(self) -> Used:
        return Used(
            cpu_s=files.number(f"{self._cpuacct}/cpuacct.usage") / 1e9,
            memory_peak=files.number(f"{self._memory}/memory.max_usage_in_bytes"),
            oom_kills=files.number(f"{self._memory}/memory.oom_control", "oom_kill"),
        )

    def remove(self) -> bool:
        left = [folder for folder in self._folders if not files.remove(folder)]
        return not left
