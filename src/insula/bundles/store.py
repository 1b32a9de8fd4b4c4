"""Bundles at rest: in their tenant's own sealed file, under the digest of their content."""

from __future__ import annotations

from insula.bundles.bundle import Bundle, BundleFile
from insula.bundles.inspect import bundle_of
from insula.kernel.errors import NotFound
from insula.storage import SealedFile

_TABLES = """
create table if not exists bundle_files (
    digest text not null, path text not null, mode integer not null, data blob not null,
    primary key (digest, path)
) without rowid
"""


class BundleStore:
    """Holds nothing itself: every call is handed the space of the tenant it is for."""

    def put(self, space: SealedFile, bundle: Bundle) -> None:
        """Keep ``bundle``; keeping it again changes nothing."""
        space.execute(_TABLES)
        rows = [(bundle.digest, file.path, file.mode, file.data) for file in bundle.files]
        with space.transaction():
            for row in rows:
                space.execute("insert or ignore into bundle_files values (?, ?, ?, ?)", row)

    def get(self, space: SealedFile, digest: str) -> Bundle:
        """Return the bundle with this digest. Raises ``NotFound`` if this space has none."""
        space.execute(_TABLES)
        rows = space.execute("select path, mode, data from bundle_files where digest = ?", (digest,))
        if not rows:
            raise NotFound(f"there is no bundle {digest[:16]}", hint="deploy the agent again", field="bundle")
        return bundle_of([BundleFile(path, mode, data) for path, mode, data in rows])
