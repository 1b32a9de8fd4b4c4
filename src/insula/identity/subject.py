"""Names of principals as SPIFFE-shaped paths: ``spiffe://insula/t/<tenant>/<path>``. Pure.

The tenant is used as it is, unfolded, so two tenants never share a subject. Source: SPIFFE-ID, section 2.
"""

from __future__ import annotations

import re

from insula.kernel.errors import InvalidRequest
from insula.kernel.ids import TenantId, tenant_id

_SEGMENT = re.compile(r"[A-Za-z0-9._-]{1,128}")
_PREFIX = "spiffe://insula/t/"
_LONGEST = 512


def subject(tenant: TenantId, path: str) -> str:
    """Return the subject for ``path`` ("agent/researcher/run/run_…"). Raises ``InvalidRequest``."""
    name = f"{_PREFIX}{tenant_id(tenant)}/{path}"
    if parse_subject(name) is None:
        raise InvalidRequest(
            f"{path[:60]!r} cannot be the path of a subject",
            hint="use segments of letters, digits, '.', '_' and '-', separated by '/'",
            field="path",
        )
    return name


def issuer(tenant: TenantId) -> str:
    """Return the issuer that signs for ``tenant`` and for nobody else."""
    return f"insula://t/{tenant}"


def parse_subject(name: str) -> tuple[str, str] | None:
    """Return (tenant, path) of a well-formed subject, else ``None``."""
    if not name.startswith(_PREFIX) or len(name) > _LONGEST:
        return None
    tenant, slash, path = name.removeprefix(_PREFIX).partition("/")
    segments = path.split("/")
    sound = all(_SEGMENT.fullmatch(part) and part not in {".", ".."} for part in (tenant, *segments))
    return (tenant, path) if slash and sound else None
