"""Fixed directories of the host that sandboxes are put together in. Outside a spawner they stay empty."""

from __future__ import annotations

from pathlib import Path

RUN = Path("/run/insula")
UIDS = RUN / "uids"
"""One lock file for each host uid in use."""
INSTANCES = RUN / "instances"
"""One locked file for each running platform, naming its control groups."""
STAGE = "/run/insula/stage"
"""Where a sandbox's root is assembled, in a mount namespace of its own."""
ATTIC = "/run/insula/attic"
"""Where a sandbox's workspace is attached while its parts are placed."""
TEMPLATE = "/run/insula/template"
"""Where the spawner keeps what all sandboxes share: devices, an empty file, an empty folder."""


def prepare() -> None:
    """Make the directories. Needs root."""
    RUN.mkdir(mode=0o711, exist_ok=True)
    for path, mode in ((UIDS, 0o700), (INSTANCES, 0o700), (STAGE, 0o711), (ATTIC, 0o711), (TEMPLATE, 0o711)):
        Path(path).mkdir(mode=mode, exist_ok=True)
