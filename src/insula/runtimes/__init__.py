"""Runtimes: named, content-addressed, read-only Python environments that sandboxes use as their root.

An operator builds one from a requirements file; agents name it. Nothing of the host is mounted in a
sandbox but such a tree.
"""

from insula.runtimes.pid1 import compile_pid1
from insula.runtimes.recipe import SHIPPED, Recipe
from insula.runtimes.store import Runtime, RuntimeStore

__all__ = ["SHIPPED", "Recipe", "Runtime", "RuntimeStore", "compile_pid1"]
