"""What a runtime is made from: a name and a requirements file."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from insula.kernel.errors import InvalidRequest
from insula.runtimes.interpreter import Interpreter

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,46}[a-z0-9])?")
_VERSION = r"(===|[<>=!~]=|[<>])\s*[^\s;,@]+"
_REQUIREMENT = re.compile(
    r"[A-Za-z0-9][A-Za-z0-9._-]*\s*(\[[A-Za-z0-9._,\s-]+\]\s*)?"
    rf"({_VERSION}\s*(,\s*{_VERSION}\s*)*)?(;.*)?"
)
_HASH = re.compile(r"\s--hash=sha(256|384|512):[0-9a-f]+")
_BUILDER = "2"  # raised whenever the builder would make another tree from the same input


@dataclass(frozen=True, slots=True)
class Recipe:
    """A runtime's name and its requirements, one per line in the form ``package>=1.2,<2``."""

    name: str
    requirements: str = ""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise InvalidRequest(
                f"runtime name {self.name!r:.60} is not a valid name",
                hint="use 1 to 48 of a-z, 0-9 and '-', beginning and ending with a letter or digit",
                field="name",
            )
        for number, line in enumerate(self.requirements.splitlines(), start=1):
            _check_line(number, line)

    def lines(self) -> tuple[str, ...]:
        """The requirements without comments and blank lines."""
        stripped = (_without_comment(line) for line in _joined(self.requirements))
        return tuple(line for line in stripped if line)

    def key(self, interpreter: Interpreter) -> str:
        """What the tree depends on: the same key may reuse the tree that was built before."""
        parts = (_BUILDER, interpreter.build, str(interpreter.stdlib), *self.lines())
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _without_comment(line: str) -> str:
    return re.sub(r"(^|\s)#.*", "", line).strip()


def _joined(text: str) -> list[str]:
    return text.replace("\\\n", " ").splitlines()


def _check_line(number: int, line: str) -> None:
    """Only plain requirements: no options, files, folders or addresses, so a build can't be led astray."""
    bare = _HASH.sub("", f" {_without_comment(line.rstrip(chr(92)))}").strip()
    if bare and not _REQUIREMENT.fullmatch(bare):
        raise InvalidRequest(
            f"line {number} of the requirements is not a plain requirement: {bare[:60]!r}",
            hint="write one package a line, such as 'openai>=3,<4'; options, paths and addresses are refused",
            field=f"requirements[{number}]",
        )


SHIPPED = {
    "python": Recipe("python"),
    "openai": Recipe("openai", "openai>=3.50,<4\n"),
}
"""The runtimes that every platform has: bare Python, and Python with the OpenAI SDK."""
