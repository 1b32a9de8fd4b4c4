"""Bundles: an agent's files as one value, checked entry by entry, addressed by content."""

from insula.bundles.bounds import BundleBounds
from insula.bundles.bundle import Bundle, BundleFile
from insula.bundles.inspect import inspect
from insula.bundles.manifest import Manifest
from insula.bundles.pack import pack
from insula.bundles.store import BundleStore

__all__ = ["Bundle", "BundleBounds", "BundleFile", "BundleStore", "Manifest", "inspect", "pack"]
