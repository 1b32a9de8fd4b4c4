"""Texts that must be written out in a policy, so that they can be judged when it is saved."""

from __future__ import annotations

import re

from insula.governance.policy.complaint import Complaint, guess
from insula.governance.policy.language import LANES

MOST_PATTERN = 64
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:Z|[+-]\d\d:\d\d)")
_SPAN = re.compile(r"(?=\d)(?:\d{1,6}h)?(?:\d{1,6}m)?(?:\d{1,9}s)?")
_HEAVY = re.compile(r"\\[a-zA-Z]|\{|\(\?|[^\x20-\x7e]")


def check_literal(function: str, text: str, at: int) -> None:
    """Raise ``Complaint`` unless ``text`` is what ``function`` can use."""
    if function == "lane" and text not in LANES:
        raise Complaint(
            at, f"there is no lane {text[:40]!r}", guess(text, LANES, f"use {' or '.join(LANES)}")
        )
    if function == "timestamp":
        _time(text, at)
    if function == "duration" and not _SPAN.fullmatch(text):
        raise Complaint(at, f"{text[:40]!r} is not a duration", 'write duration("1h30m")')
    if function == "matches":
        _pattern(text, at)


def _time(text: str, at: int) -> None:
    from datetime import datetime

    try:
        if not _TIME.fullmatch(text):
            raise ValueError(text)
        datetime.fromisoformat(text)
    except ValueError:
        raise Complaint(
            at, f"{text[:40]!r} is not a time", 'write timestamp("2026-12-01T00:00:00Z")'
        ) from None


def _pattern(text: str, at: int) -> None:
    """The library compiles a pattern anew at each evaluation: only small automata are let in.

    Class escapes and counted repetitions blow up into large ones (``\\\\w`` sixty times: 36 ms).
    """
    if len(text) > MOST_PATTERN:
        raise Complaint(at, f"a pattern is longer than {MOST_PATTERN} characters", "shorten it")
    heavy = _HEAVY.search(text)
    if heavy:
        raise Complaint(
            at,
            f"a pattern may not hold {heavy.group()}",
            "spell classes out, such as [a-z0-9_], and repeat with * + ?",
        )
    try:
        re.compile(text)
    except (re.error, RecursionError, OverflowError) as error:
        raise Complaint(at, f"the pattern is malformed: {error}", "correct it") from None
