"""The root key: one file of 32 bytes, mode 0600, made on first use and never silently made again."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from insula.kernel.durable import sync_directory
from insula.kernel.entropy import token_bytes, token_text
from insula.kernel.errors import Misconfigured
from insula.vault.barrier import KEY_BYTES


def open_root_key(path: Path, *, guarded: Path | None = None) -> bytes:
    """Return the root key at ``path``, making it when there is none.

    ``guarded`` is a file that is useless without the key (keys.db): when it exists and the key does not,
    the key was lost, and making a new one would hide that. Raises ``Misconfigured`` with the fix.
    """
    if not path.exists() and not path.is_symlink():
        if guarded is not None and guarded.exists():
            raise Misconfigured(
                f"{path} is missing, but {guarded} was sealed under it",
                hint=f"restore {path.name} from your backup; without it the tenants' data cannot be read",
                field="root_key",
            )
        _make(path)
    return _read(path)


def _make(path: Path) -> None:
    """Write a new key beside ``path`` and link it into place: the name appears whole, and only once."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{token_text(6)}")
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(token_bytes(KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            return  # another process was first: its key is the key
    finally:
        draft.unlink()
    sync_directory(path.parent)


def _read(path: Path) -> bytes:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        hint = "it must be a regular file of yours, not a link"
        raise Misconfigured(
            f"{path} cannot be opened: {error.strerror}", hint=hint, field="root_key"
        ) from error
    try:
        _check(path, os.fstat(fd))
        return os.read(fd, KEY_BYTES)
    finally:
        os.close(fd)


def _check(path: Path, found: os.stat_result) -> None:
    mode = stat.S_IMODE(found.st_mode)
    if not stat.S_ISREG(found.st_mode):
        raise Misconfigured(
            f"{path} is not a regular file", hint="remove it or move it away", field="root_key"
        )
    if mode & 0o077:
        raise Misconfigured(
            f"{path} has mode {mode:04o}: others can reach the root key",
            hint=f"chmod 600 {path}",
            field="root_key",
        )
    if found.st_uid != os.geteuid():
        raise Misconfigured(
            f"{path} belongs to uid {found.st_uid}", hint=f"chown {os.geteuid()} {path}", field="root_key"
        )
    if found.st_size != KEY_BYTES:
        raise Misconfigured(
            f"{path} has {found.st_size} bytes instead of {KEY_BYTES}",
            hint=f"restore {path.name} from your backup",
            field="root_key",
        )
