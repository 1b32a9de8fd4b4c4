"""Ways to wall a process off, one file each, weakest last. The spawner runs them; nobody else does."""

from __future__ import annotations

from insula.sandbox.backends.bubblewrap import Bubblewrap
from insula.sandbox.backends.namespace import Namespace
from insula.sandbox.backends.none import Unwalled
from insula.sandbox.recipe import Recipe

__all__ = ["RECIPES"]

RECIPES: dict[str, Recipe] = {recipe.name: recipe for recipe in (Bubblewrap(), Namespace(), Unwalled())}
