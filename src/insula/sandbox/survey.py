"""Finds out, by trying, what the host gives: once, when the spawner starts."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from insula.sandbox import cgroups, places, seccomp, staging, syscalls
from insula.sandbox.backends import RECIPES
from insula.sandbox.recipe import Missing

_ROOT = Missing("sandboxes need root: each one gets a host uid of its own", "start the platform as root")
_SECCOMP = Missing("libseccomp is not installed", "apt-get install libseccomp2")
_CGROUPS_FIX = (
    "mount cgroup v2, or boot with systemd.unified_cgroup_hierarchy=1; in a service set Delegate=yes"
)


@dataclass(frozen=True, slots=True)
class Survey:
    """``bpf`` is the compiled filter. ``missing`` says for each recipe what it lacks: nothing is good."""

    bpf: bytes | None
    missing: dict[str, list[Missing]]

    @property
    def usable(self) -> bool:
        return any(not lacks for lacks in self.missing.values())


def survey() -> Survey:
    """Prepare what all sandboxes share and try every recipe. Never raises for what the host lacks."""
    if os.geteuid() != 0:
        return Survey(None, {name: [_ROOT] for name in RECIPES})
    common = [*_try(_shared_mounts, "the kernel's mount interface (Linux 5.12)"), *_controllers()]
    bpf = _filter()
    missing = {}
    for name, recipe in RECIPES.items():
        filtered = [] if bpf is not None or not recipe.filtered else [_SECCOMP]
        missing[name] = [*common, *filtered, *([] if common else recipe.missing(bpf))]
    return Survey(bpf, missing)


def _shared_mounts() -> None:
    places.prepare()
    os.close(syscalls.new_tmpfs({"size": "4096"}, 0))
    syscalls.unshare(syscalls.CLONE_NEWNS)
    staging.prepare_template()


def _controllers() -> list[Missing]:
    lacks = cgroups.missing(cgroups.read_layout())
    return [Missing(f"no control groups for {', '.join(lacks)}", _CGROUPS_FIX)] if lacks else []


def _filter() -> bytes | None:
    try:
        return seccomp.compile_filter()
    except (RuntimeError, ImportError):
        return None


def _try(action: Callable[[], None], what: str) -> list[Missing]:
    try:
        action()
    except OSError as problem:
        return [Missing(f"{what} does not work here: {problem}", "run on the host, outside a container")]
    return []
