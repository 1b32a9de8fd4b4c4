"""What a sandbox is asked for, what comes out of it, and what is left in writing."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from insula.kernel.errors import InvalidRequest
from insula.kernel.ids import RunId, TenantId
from insula.sandbox.payload import FileLike
from insula.tenancy import SandboxBounds

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MOST_BYTES = 96 * 1024
_MOST_FILES = 100_000


@dataclass(frozen=True, slots=True)
class SandboxSpec:
    """``command`` is what becomes pid 1. ``agent`` is a directory of the host, shown at /run/insula/agent.

    ``files`` appear read-only below /agent; ``stdin`` is what pid 1 reads. Raises ``InvalidRequest``.
    """

    tenant: TenantId
    run: RunId
    rootfs: Path
    command: tuple[str, ...]
    bounds: SandboxBounds
    environment: Mapping[str, str] = field(default_factory=dict)
    files: Sequence[FileLike] = field(default=(), repr=False)
    stdin: bytes = field(default=b"", repr=False)
    agent: Path | None = None

    def __post_init__(self) -> None:
        _check_command(self.command)
        _check_environment(self.environment)
        _check_files(self.files)
        for name, path in (("rootfs", self.rootfs), ("agent", self.agent)):
            if path is not None and not path.is_absolute():
                raise InvalidRequest(
                    f"{name} {str(path)!r:.80} is not absolute", hint="give an absolute path", field=name
                )


@dataclass(frozen=True, slots=True)
class OutputChunk:
    """A piece of output; ``stream`` is ``stdout`` or ``stderr``."""

    stream: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Exit:
    """How the workload ended, with every process of it gone.

    ``code`` is ``None`` when a signal ended it (``signal``, also read from a code of ``128 + n``) or when it
    never ran. ``reason`` is ``exited``, ``oom``, ``timed_out``, ``output_limit``, ``failed_to_start``
    (``problem`` says why), ``lost`` (the spawner died), ``destroyed``, or what ``kill`` was called with.
    ``memory_peak`` in bytes, the workspace included.
    """

    code: int | None
    signal: int | None
    reason: str
    cpu_s: float
    memory_peak: int
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What was made sure of after the end. ``clean`` only when all of it holds."""

    processes_gone: bool
    group_removed: bool
    workspace_freed: bool
    uid_released: bool

    @property
    def clean(self) -> bool:
        return self.processes_gone and self.group_removed and self.workspace_freed and self.uid_released


def _check_command(command: tuple[str, ...]) -> None:
    if not command or not command[0]:
        raise InvalidRequest("there is no command", hint="give at least a program", field="command")
    if any("\0" in word for word in command) or sum(map(len, command)) > _MOST_BYTES:
        raise InvalidRequest(
            "the command is not usable", hint=f"no NUL, at most {_MOST_BYTES} characters", field="command"
        )


def _check_environment(environment: Mapping[str, str]) -> None:
    for name, value in environment.items():
        if not _NAME.fullmatch(name) or "\0" in value:
            raise InvalidRequest(
                f"environment variable {name!r:.60} is not usable",
                hint="use letters, digits and '_' in the name, and no NUL in the value",
                field="environment",
            )
    if sum(len(name) + len(value) for name, value in environment.items()) > _MOST_BYTES:
        raise InvalidRequest(
            "the environment is too large", hint=f"at most {_MOST_BYTES} characters", field="environment"
        )


def _check_files(files: Sequence[FileLike]) -> None:
    if len(files) > _MOST_FILES:
        raise InvalidRequest(
            "the agent has too many files", hint=f"at most {_MOST_FILES} are possible", field="files"
        )
    for file in files:
        parts = PurePosixPath(file.path).parts
        clean = "/".join(parts) == file.path and "\0" not in file.path
        if not parts or not clean or {"/", ".", ".."} & set(parts):
            raise InvalidRequest(
                f"path {file.path!r:.80} of the agent is not usable",
                hint="use clean relative paths without '.' and '..'",
                field="files",
            )
