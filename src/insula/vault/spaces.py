"""Tenant spaces: the one way to what a tenant owns, and only with a verified context.

A space is a sealed file under the tenant's own key and stamp. ``open`` takes the tenant from the context,
so there is no argument by which to ask for somebody else's.
"""

from __future__ import annotations

import os
import shutil
import threading
import weakref
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from insula.identity import Storage, VerifiedContext, require
from insula.kernel.clock import Clock, SystemClock
from insula.kernel.ids import TenantId, tenant_id
from insula.storage import SealedFile
from insula.vault.keyring import Keyring, ShredReceipt

FILE = "space.db"
MOST_OPEN = 256


@dataclass(frozen=True, slots=True)
class DestroyReceipt:
    """What deleting a tenant's space destroyed: the key first, then the files."""

    key: ShredReceipt
    files_removed: int

    def as_dict(self) -> dict[str, Any]:
        return {**self.key.as_dict(), "files_removed": self.files_removed}


class TenantSpaces:
    """Open spaces, least recently used forgotten first (an open handle lives on while somebody holds it)."""

    def __init__(self, root: Path, keyring: Keyring, clock: Clock | None = None) -> None:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._root = root
        self._keyring = keyring
        self._clock = clock or SystemClock()
        self._lock = threading.RLock()
        self._recent: OrderedDict[TenantId, SealedFile] = OrderedDict()
        self._alive: dict[TenantId, weakref.WeakSet[SealedFile]] = {}

    def open(self, context: VerifiedContext[Storage]) -> SealedFile:
        """Return the space of the context's tenant.

        Raises ``Denied`` for another audience or an expired context, ``NotFound`` when the tenant has no
        key, ``SealedFileUnreadable`` for a damaged file, ``IsolationBreach`` for a forged context or a
        swapped file.
        """
        tenant = require(context, Storage, self._clock.now())
        with self._lock:
            space = self._recent.get(tenant)
            if space is None or space.closed:
                space = self._open(tenant)
            self._recent[tenant] = space
            self._recent.move_to_end(tenant)
            while len(self._recent) > MOST_OPEN:
                self._recent.popitem(last=False)
            return space

    def close(self, tenant: TenantId) -> None:
        """Close every handle of ``tenant`` in this process, as suspension and deletion do."""
        with self._lock:
            self._recent.pop(tenant, None)
            for space in list(self._alive.pop(tenant, ())):
                space.close()

    def close_all(self) -> None:
        with self._lock:
            for tenant in list(self._alive):
                self.close(tenant)

    def destroy(self, tenant: TenantId) -> DestroyReceipt:
        """Close, shred the key, then remove the files; again finishes what a crash cut.

        The operator's act of deletion: it takes a bare tenant id and reads nothing. Raises ``NotFound``
        when the tenant never had a key.
        """
        with self._lock:
            self.close(tenant)
            receipt = self._keyring.shred(tenant)
            return DestroyReceipt(receipt, self._remove(tenant))

    def sweep(self) -> list[TenantId]:
        """Remove the files of tenants whose key is gone; returns whose. For start-up, after a crash."""
        with self._lock:
            return [tenant for tenant in self._keyring.shredded() if self._remove(tenant)]

    def _open(self, tenant: TenantId) -> SealedFile:
        key = self._keyring.dek(tenant)
        home = self._root / tenant_id(tenant)
        home.mkdir(mode=0o700, exist_ok=True)
        space = SealedFile.open(home / FILE, key, f"tenant/{tenant}")
        self._alive.setdefault(tenant, weakref.WeakSet()).add(space)
        return space

    def _remove(self, tenant: TenantId) -> int:
        home = self._root / tenant_id(tenant)
        if home.is_symlink():
            home.unlink()
            return 1
        count = sum(len(files) for _, _, files in os.walk(home))
        if home.exists():
            shutil.rmtree(home)
        return count
