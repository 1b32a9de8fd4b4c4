"""``agent.toml``: what an agent is called, how it starts, what it needs. Pure."""

from __future__ import annotations

import difflib
import re
import shlex
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from insula.kernel.errors import InvalidRequest
from insula.kernel.ids import AgentName, AppName, agent_name, app_name

BYTES_MAX = 64 * 1024
RECOVERIES = ("restart", "fail")
LIMITS: Mapping[str, tuple[float, float, str]] = {
    "timeout_s": (0.1, 30 * 86_400, "seconds"),
    "memory_mib": (16, 1_048_576, "mebibytes"),
    "pids": (4, 1_000_000, "processes"),
    "cpu": (0.01, 1024, "CPUs"),
    "workspace_mib": (1, 1_048_576, "mebibytes"),
    "tokens": (1, 10**12, "tokens"),
}
"""Each limit's least and greatest value and its unit. They narrow what the tier gives, never widen it.
``tokens`` is what a run sets aside of its tenant's token budget when it starts."""

_KEYS = ("name", "app", "entrypoint", "runtime", "models", "recovery", "limits")
_FRACTIONS = ("timeout_s", "cpu")
_RUNTIME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,46}[a-z0-9])?")
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,127}")


@dataclass(frozen=True, slots=True)
class Manifest:
    """``entrypoint`` is an argument vector; ``recovery`` says what becomes of a run that a crash cut.

    ``app`` is the application whose limits the agent shares; without one it is an application by itself.
    """

    name: AgentName
    entrypoint: tuple[str, ...]
    runtime: str = "python"
    models: tuple[str, ...] = ()
    limits: Mapping[str, float] = field(default_factory=dict)
    recovery: str = "restart"
    app: AppName | None = None

    @classmethod
    def parse(cls, text: bytes) -> Manifest:
        """Read ``agent.toml``. Raises ``InvalidRequest`` naming the field, its problem and the fix."""
        table = _toml(text)
        _known(table, _KEYS, "")
        return cls(
            name=_name(_required(table, "name")),
            entrypoint=_entrypoint(_required(table, "entrypoint")),
            runtime=_runtime(table.get("runtime", "python")),
            models=_models(table.get("models", [])),
            limits=_limits(table.get("limits", {})),
            recovery=_recovery(table.get("recovery", "restart")),
            app=_app(table["app"]) if "app" in table else None,
        )

    def as_dict(self) -> dict[str, Any]:
        """The manifest in plain types, for JSON."""
        return asdict(self) | {"entrypoint": list(self.entrypoint), "models": list(self.models)}


def _wrong(name: str, problem: str, fix: str) -> InvalidRequest:
    return InvalidRequest(f"agent.toml: {name} {problem}", hint=fix, field=name)


def _toml(text: bytes) -> dict[str, Any]:
    if len(text) > BYTES_MAX:
        raise _wrong("agent.toml", f"has {len(text)} bytes, more than {BYTES_MAX}", "keep it small")
    try:
        return tomllib.loads(text.decode())
    except UnicodeDecodeError:
        raise _wrong("agent.toml", "is not UTF-8 text", "save it as UTF-8") from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise _wrong("agent.toml", f"is not TOML: {error}", "correct the line it names") from None


def _known(table: Mapping[str, Any], names: Iterable[str], prefix: str) -> None:
    for key in table:
        if key not in names:
            near = difflib.get_close_matches(key, names, n=1)
            fix = f"did you mean {prefix}{near[0]}?" if near else f"known are {', '.join(names)}"
            raise _wrong(f"{prefix}{key}"[:80], "is not a known key", fix)


def _required(table: Mapping[str, Any], key: str) -> Any:
    if key not in table:
        example = {"name": 'name = "researcher"', "entrypoint": 'entrypoint = "python main.py"'}[key]
        raise _wrong(key, "is missing", f"add: {example}")
    return table[key]


def _name(value: Any) -> AgentName:
    try:
        return agent_name(value)
    except InvalidRequest as error:
        raise _wrong("name", f"cannot be {value!r:.60}", error.hint) from None


def _app(value: Any) -> AppName:
    try:
        return app_name(value)
    except InvalidRequest as error:
        raise _wrong("app", f"cannot be {value!r:.60}", error.hint) from None


def _entrypoint(value: Any) -> tuple[str, ...]:
    fix = 'write one command line, such as "python main.py"'
    if not isinstance(value, str):
        raise _wrong("entrypoint", f"cannot be {value!r:.60}", fix)
    try:
        words = tuple(shlex.split(value))
    except ValueError as error:
        raise _wrong("entrypoint", f"cannot be split into words: {error}", "close every quote") from None
    if not words or not words[0] or "\0" in value:
        raise _wrong("entrypoint", "is empty" if not words else "is not a command line", fix)
    return words


def _runtime(value: Any) -> str:
    if not isinstance(value, str) or not _RUNTIME.fullmatch(value):
        raise _wrong("runtime", f"cannot be {value!r:.60}", 'name a runtime, such as "python" or "openai"')
    return value


def _models(value: Any) -> tuple[str, ...]:
    fix = 'write a list of model ids, such as ["m1"]'
    if not isinstance(value, list) or len(value) > 64:
        raise _wrong("models", "is not a list of at most 64 model ids", fix)
    for index, model in enumerate(value):
        if not isinstance(model, str) or not _MODEL.fullmatch(model):
            raise _wrong(f"models[{index}]", f"cannot be {model!r:.60}", fix)
    return tuple(dict.fromkeys(value))


def _limits(value: Any) -> dict[str, float]:
    if not isinstance(value, dict):
        raise _wrong("limits", f"cannot be {value!r:.60}", "write a table: [limits]")
    _known(value, LIMITS, "limits.")
    return {key: _limit(key, given) for key, given in value.items()}


def _limit(key: str, given: Any) -> float:
    least, most, unit = LIMITS[key]
    kinds = (int, float) if key in _FRACTIONS else (int,)
    number = isinstance(given, kinds) and not isinstance(given, bool)
    if not number or not least <= given <= most:
        whole = "a number" if key in _FRACTIONS else "a whole number"
        fix = f"use {whole} of {unit} from {least:g} to {most:g}"
        raise _wrong(f"limits.{key}", f"cannot be {given!r:.60}", fix)
    return float(given) if key in _FRACTIONS else int(given)


def _recovery(value: Any) -> str:
    if value not in RECOVERIES:
        raise _wrong("recovery", f"cannot be {value!r:.60}", f"use one of {', '.join(RECOVERIES)}")
    return str(value)
