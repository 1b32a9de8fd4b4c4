"""The ground floor: control data, audit, tenants, keys, credentials. No sandbox, no network, no loop."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from insula.audit import AuditLog
from insula.identity import Authority, Credentials, SigningKeys, audited
from insula.identity.adapters.sql import SqlCredentialStore, SqlKeyStore
from insula.kernel.clock import Clock, SystemClock
from insula.kernel.errors import Misconfigured
from insula.settings import Settings
from insula.storage import ControlDatabase, SqlHeads
from insula.tenancy.adapters.sql import SqlRegistry
from insula.vault import Barrier, Keyring, PlatformSecrets, TenantSpaces, open_root_key
from insula.vault.adapters.sql import SqlSecretStore
from insula.wiring.home import Home


@dataclass(frozen=True, slots=True)
class Ground:
    """The parts that everything else stands on."""

    home: Home
    control: ControlDatabase
    audit: AuditLog
    registry: SqlRegistry
    keyring: Keyring
    spaces: TenantSpaces
    secrets: PlatformSecrets
    signing: SigningKeys
    authority: Authority
    credentials: Credentials

    def close(self) -> None:
        """Close files, last opened first."""
        self.spaces.close_all()
        self.audit.close()
        self.keyring.close()
        self.control.close()


def lay(settings: Settings, clock: Clock) -> Ground:
    """Open the home and build the ground floor in it. Raises ``Misconfigured``."""
    home = Home(settings.home).prepare()
    barrier = Barrier(open_root_key(home / "root.key", guarded=home / "keys.db"))
    control = ControlDatabase(home / "control.db")
    audit = AuditLog(home / "audit", barrier.subkey("audit"), SqlHeads(control), clock)
    registry = SqlRegistry(control, settings.trust, clock)
    keyring = Keyring(home / "keys.db", barrier, clock)
    spaces = TenantSpaces(home / "tenants", keyring, clock)
    spaces.sweep()
    keys = SqlKeyStore(control)
    signing = SigningKeys(keys, barrier, clock)
    authority = Authority(signing, registry, clock, keys, audited(audit))
    return Ground(
        home=home,
        control=control,
        audit=audit,
        registry=registry,
        keyring=keyring,
        spaces=spaces,
        secrets=PlatformSecrets(SqlSecretStore(control), barrier),
        signing=signing,
        authority=authority,
        credentials=Credentials(SqlCredentialStore(control), registry, clock),
    )


def open_audit(home: Path) -> AuditLog:
    """Open the audit of a home that no platform is using, to verify it. Raises ``Misconfigured``."""
    for needed in ("root.key", "control.db"):
        if not (home / needed).is_file():
            raise Misconfigured(
                f"{home} is not the home of a platform: it has no {needed}",
                hint="choose it with --home or INSULA_HOME",
                field="home",
            )
    barrier = Barrier(open_root_key(home / "root.key", guarded=home / "keys.db"))
    heads = SqlHeads(ControlDatabase(home / "control.db"))
    return AuditLog(home / "audit", barrier.subkey("audit"), heads, SystemClock())
