"""Which paths may be in a bundle. Pure."""

from __future__ import annotations

from insula.bundles.bounds import BundleBounds
from insula.kernel.errors import InvalidRequest


def refusal(entry: str, problem: str, fix: str) -> InvalidRequest:
    """The error for one entry of a bundle: which, what is wrong with it, what to do."""
    return InvalidRequest(f"{entry!r:.80} {problem}", hint=fix, field=f"bundle:{entry[:80]}")


def clean(name: str, bounds: BundleBounds) -> str:
    """Return the path ``name`` without a leading ``./`` or a trailing ``/``; the archive's root gives "".

    Raises ``InvalidRequest`` for a path that is absolute, climbs, has empty or unprintable parts, is too
    long or too deep.
    """
    if name.startswith("/"):
        raise refusal(name, "is an absolute path", "pack the agent's directory with relative paths")
    path = name.removeprefix("./").removesuffix("/")
    if path in ("", "."):
        return ""
    parts = path.split("/")
    if ".." in parts:
        raise refusal(
            name, "climbs out of the bundle with '..'", "keep every file inside the agent's directory"
        )
    if "" in parts or "." in parts:
        raise refusal(name, "is not a plain path", "write it without '//' and '/./'")
    if not all(character.isprintable() for character in path):
        raise refusal(name, "contains unprintable characters", "rename the file")
    if len(path.encode(errors="surrogatepass")) > bounds.path_bytes:
        raise refusal(name, f"is longer than {bounds.path_bytes} bytes", "shorten the path")
    if len(parts) > bounds.depth:
        raise refusal(name, f"lies deeper than {bounds.depth} folders", "flatten the folders")
    return path
