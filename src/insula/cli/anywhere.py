"""Options that may stand anywhere on the line: before the command, after it, or at the end. Pure."""

from __future__ import annotations

from collections.abc import Sequence

FLAGS = frozenset({"--json"})
VALUED = frozenset({"--home", "--url", "--token"})


def to_front(words: Sequence[str]) -> list[str]:
    """Return ``words`` with the options of every command moved ahead of the command.

    The order within either group stays. Nothing after ``--`` moves, and an option whose value is
    missing stays where it is, so that the parser can complain about it.
    """
    front: list[str] = []
    rest: list[str] = []
    at = 0
    while at < len(words):
        word = words[at]
        if word == "--":
            rest.extend(words[at:])
            break
        if word in FLAGS or (word.partition("=")[0] in VALUED and "=" in word):
            front.append(word)
        elif word in VALUED and at + 1 < len(words):
            front += [word, words[at + 1]]
            at += 1
        else:
            rest.append(word)
        at += 1
    return front + rest
