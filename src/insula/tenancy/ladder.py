"""The cells of a profile as ladders: for each aspect its words, weakest first, and what a move means.

One table. Comparison, override validation, the plan and the documentation all read it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ladder:
    """One aspect of isolation. ``words`` go from the weakest to the strongest."""

    aspect: str
    words: tuple[str, ...]
    moves: str

    def height(self, word: str) -> int:
        """Return the position of ``word``; raises ``ValueError`` when it is no rung of this ladder."""
        return self.words.index(word)


LADDERS: dict[str, Ladder] = {
    ladder.aspect: ladder
    for ladder in (
        Ladder(
            "compute",
            ("none", "namespace", "bubblewrap", "gvisor", "microvm"),
            "runs that start from now on use the new rung; running ones end on the old one",
        ),
        Ladder(
            "pool",
            ("shared", "own", "own-nodes"),
            "idle sandboxes of the old pool are destroyed, none changes hands",
        ),
        Ladder(
            "state",
            ("row", "schema", "database", "server"),
            "on PostgreSQL the tenant's rows are copied, checked and switched; on SQLite nothing moves: "
            "each tenant owns a sealed file on every tier",
        ),
        Ladder(
            "vectors",
            ("namespace", "index", "node"),
            "vectors are copied, counted and switched, then the old index is dropped",
        ),
        Ladder(
            "inference",
            ("shared", "dedicated", "own"),
            "calls go to the new endpoint from the next request on; no cache is carried over",
        ),
        Ladder(
            "lanes",
            ("interactive", "interactive,batch", "interactive,batch,weighted"),
            "runs already queued keep the lane they were accepted in",
        ),
    )
}
