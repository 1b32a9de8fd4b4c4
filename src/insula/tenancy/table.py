"""What each tier means: the table of tiers, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass

from insula.tenancy.bounds import SandboxBounds
from insula.tenancy.rung import Rung
from insula.tenancy.tier import Tier, Trust

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class TierRow:
    """One column of the table in docs/tenancy.md. Words are rungs of the ladders in ``ladder.py``."""

    compute: dict[Trust, Rung]
    pool: str
    state: str
    vectors: str
    inference: str
    lanes: str
    sandbox: SandboxBounds


_STRANGERS = {Trust.SAAS: Rung.GVISOR, Trust.INTERNAL: Rung.BUBBLEWRAP}
_NEGOTIATED = {Trust.SAAS: Rung.MICROVM, Trust.INTERNAL: Rung.GVISOR}

TIERS: dict[Tier, TierRow] = {
    Tier.FREE: TierRow(
        compute=_STRANGERS,
        pool="shared",
        state="row",
        vectors="namespace",
        inference="shared",
        lanes="interactive",
        sandbox=SandboxBounds(
            memory_mib=512,
            pids=64,
            cpu_fraction=0.5,
            workspace_mib=128,
            workspace_inodes=8_192,
            output_bytes=4 * MIB,
            wall_s=300,
        ),
    ),
    Tier.PRO: TierRow(
        compute=_STRANGERS,
        pool="own",
        state="schema",
        vectors="namespace",
        inference="shared",
        lanes="interactive,batch",
        sandbox=SandboxBounds(
            memory_mib=1_024,
            pids=128,
            cpu_fraction=1.0,
            workspace_mib=512,
            workspace_inodes=32_768,
            output_bytes=16 * MIB,
            wall_s=1_800,
        ),
    ),
    Tier.ENTERPRISE: TierRow(
        compute=_NEGOTIATED,
        pool="own",
        state="database",
        vectors="index",
        inference="dedicated",
        lanes="interactive,batch,weighted",
        sandbox=SandboxBounds(
            memory_mib=4_096,
            pids=512,
            cpu_fraction=2.0,
            workspace_mib=2_048,
            workspace_inodes=131_072,
            output_bytes=64 * MIB,
            wall_s=14_400,
        ),
    ),
    Tier.DEDICATED: TierRow(
        compute=_NEGOTIATED,
        pool="own-nodes",
        state="server",
        vectors="node",
        inference="own",
        lanes="interactive,batch,weighted",
        sandbox=SandboxBounds(
            memory_mib=8_192,
            pids=1_024,
            cpu_fraction=4.0,
            workspace_mib=8_192,
            workspace_inodes=524_288,
            output_bytes=64 * MIB,
            wall_s=86_400,
        ),
    ),
}
