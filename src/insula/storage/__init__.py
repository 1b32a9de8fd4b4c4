"""The mechanism of relational isolation: a namespace is a file and a key. Knows namespaces, not tenants."""

from insula.storage.control import ControlDatabase
from insula.storage.heads import SqlHeads
from insula.storage.sealed import SealedFile, SealedFileUnreadable

__all__ = ["ControlDatabase", "SealedFile", "SealedFileUnreadable", "SqlHeads"]
