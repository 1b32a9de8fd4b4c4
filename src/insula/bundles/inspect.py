"""The authority on what a bundle may be: every archive passes here, whoever packed it."""

from __future__ import annotations

from insula.bundles import names, tarball
from insula.bundles.bounds import STANDARD, BundleBounds
from insula.bundles.bundle import MANIFEST, Bundle, BundleFile, digest_of
from insula.bundles.gunzip import gunzip
from insula.bundles.manifest import Manifest
from insula.kernel.errors import InvalidRequest, TooLarge


def inspect(archive: bytes, bounds: BundleBounds = STANDARD) -> Bundle:
    """Return the bundle that the tar.gz ``archive`` holds; nothing is written anywhere.

    Raises ``InvalidRequest`` or ``TooLarge`` naming the entry, its problem and the fix. Owners, times and
    all permissions but "executable" are dropped; empty folders do not count.
    """
    collected = _Collected(bounds)
    for entry in tarball.entries(gunzip(archive, bounds)):
        collected.add(entry)
    return bundle_of(collected.files())


def bundle_of(files: list[BundleFile]) -> Bundle:
    """Return the bundle of already checked ``files``. Raises ``InvalidRequest`` if the manifest is unfit."""
    by_path = {file.path: file for file in files}
    if MANIFEST not in by_path:
        raise InvalidRequest(
            f"the bundle has no {MANIFEST}",
            hint='create it beside your code: name = "researcher", entrypoint = "python main.py"',
            field=MANIFEST,
        )
    manifest = Manifest.parse(by_path[MANIFEST].data)
    _check_script(manifest, by_path)
    ordered = tuple(by_path[path] for path in sorted(by_path))
    return Bundle(digest_of(ordered), manifest, ordered)


class _Collected:
    """Files so far. Keeps the counts that the bounds are about."""

    def __init__(self, bounds: BundleBounds) -> None:
        self._bounds = bounds
        self._files: dict[str, BundleFile] = {}
        self._folders: set[str] = set()
        self._entries = 0
        self._bytes = 0

    def add(self, entry: tarball.Entry) -> None:
        self._count(entry)
        path = names.clean(entry.name, self._bounds)
        folder = path if entry.data is None else path.rpartition("/")[0]
        if path in self._files or (entry.data is not None and (path in self._folders or not path)):
            raise names.refusal(entry.name, "is there more than once", "keep one entry for each path")
        self._note_folders(entry.name, folder)
        if entry.data is not None:
            self._files[path] = BundleFile(path, 0o755 if entry.executable else 0o644, bytes(entry.data))

    def files(self) -> list[BundleFile]:
        return list(self._files.values())

    def _count(self, entry: tarball.Entry) -> None:
        bounds = self._bounds
        size = len(entry.data or b"")
        self._entries += 1
        self._bytes += size
        if self._entries > bounds.entries:
            raise _too_large(f"the bundle has more than {bounds.entries} entries")
        if size > bounds.file_bytes:
            raise _too_large(f"{entry.name!r:.80} has {size} bytes, more than {bounds.file_bytes}")
        if self._bytes > bounds.bytes:
            raise _too_large(f"the bundle has more than {bounds.bytes} bytes of content")

    def _note_folders(self, name: str, folder: str) -> None:
        while folder and folder not in self._folders:
            if folder in self._files:
                raise names.refusal(name, f"lies in {folder!r:.80}, which is a file", "rename one of the two")
            self._folders.add(folder)
            folder = folder.rpartition("/")[0]


def _too_large(problem: str) -> TooLarge:
    return TooLarge(problem, hint="leave files out that the agent does not need", field="bundle")


def _check_script(manifest: Manifest, by_path: dict[str, BundleFile]) -> None:
    """A Python entrypoint must be there: better said at deployment than at the first run."""
    words = manifest.entrypoint
    script = words[1] if len(words) > 1 and words[0] in ("python", "python3") else ""
    if (
        script.endswith(".py")
        and not script.startswith(("-", "/"))
        and script.removeprefix("./") not in by_path
    ):
        raise InvalidRequest(
            f"agent.toml: entrypoint names {script!r:.80}, which is not in the bundle",
            hint=f"add the file or correct entrypoint; there are {', '.join(sorted(by_path)[:5])}",
            field="entrypoint",
        )
