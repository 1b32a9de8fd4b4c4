"""The platform's own secrets, such as the keys of model endpoints: sealed at rest, shown to nobody."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Never, Protocol

from insula.kernel.errors import InvalidRequest, NotFound
from insula.vault.barrier import Barrier

_NAME = re.compile(r"[a-z0-9][a-z0-9_./-]{0,127}")
_LONGEST = 65_536


class SecretText:
    """A secret that does not show itself: not printed, formatted, compared by accident, copied or pickled."""

    __slots__ = ("__value",)

    def __init__(self, value: str) -> None:
        self.__value = value

    def reveal(self) -> str:
        """Return the secret. Call it where the outbound request is made, and nowhere else."""
        return self.__value

    def __repr__(self) -> str:
        return "***"

    def __reduce_ex__(self, _protocol: object) -> Never:
        raise TypeError("a secret cannot be pickled or copied")


class SecretStore(Protocol):
    def get(self, name: str) -> bytes | None: ...
    def put(self, name: str, sealed: bytes) -> None: ...
    def delete(self, name: str) -> bool: ...
    def names(self) -> Iterable[str]: ...


class PlatformSecrets:
    """Secrets by name. The name is bound into the seal, so values cannot change places."""

    def __init__(self, store: SecretStore, barrier: Barrier) -> None:
        self._store = store
        self._barrier = barrier

    def put(self, name: str, value: str) -> None:
        """Store ``value`` in place of what was there. Raises ``InvalidRequest``."""
        if not isinstance(value, str) or not 0 < len(value) <= _LONGEST:
            raise InvalidRequest(
                "a secret cannot be empty or huge", hint="1 to 65536 characters", field="value"
            )
        self._store.put(_name(name), self._barrier.seal(_aad(name), value.encode()))

    def get(self, name: str) -> SecretText:
        """Raises ``NotFound``."""
        sealed = self._store.get(_name(name))
        if sealed is None:
            raise NotFound(f"there is no secret {name!r}")
        return SecretText(self._barrier.unseal(_aad(name), sealed).decode())

    def delete(self, name: str) -> None:
        """Raises ``NotFound``."""
        if not self._store.delete(_name(name)):
            raise NotFound(f"there is no secret {name!r}")

    def names(self) -> list[str]:
        return sorted(self._store.names())


def _name(name: object) -> str:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InvalidRequest(
            f"{str(name)[:40]!r} cannot name a secret",
            hint="use lower-case letters, digits and ./_-, up to 128",
            field="name",
        )
    return name


def _aad(name: str) -> bytes:
    return f"insula platform secret\0{name}".encode()
