"""The reference documentation, made from the code it describes: ``python -m insula.cli.reference [DIR]``.

A test makes it again and fails when a page is stale.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

NOTE = "<!-- Made by `python -m insula.cli.reference`; edit the code instead. -->\n"
DIRECTORY = Path("docs/reference")
_DRAWN = re.compile(r"[├└]─ ([A-Z]\w+)(?: +\d{3})?(?: {2,}(\S.*))?")


def pages() -> dict[str, str]:
    """Return the text of each page by its file name."""
    made = {
        "commands.md": commands(),
        "errors.md": errors(),
        "scopes.md": scopes(),
        "settings.md": settings(),
        "api.md": api(),
    }
    return {name: f"{NOTE}\n{text.rstrip()}\n" for name, text in made.items()}


def commands() -> str:
    """Return the page of the command line."""
    from insula.cli.app import app
    from insula.cli.exits import MEANINGS
    from insula.cli.groups import SECTIONS

    root = typer.main.get_command(app)
    assert isinstance(root, TyperGroup)
    order = [name for names in SECTIONS.values() for name in names]
    parts = ["# Commands\n", _fenced(_help(root, "insula"))]
    for name in order:
        parts += [
            _fenced(_help(command, path), title=path) for path, command in _walk(root.commands[name], name)
        ]
    rows = [f"| {int(code)} | {meaning} |" for code, meaning in MEANINGS.items()]
    return "\n".join([*parts, "## Exit codes\n", "| code | meaning |", "|---|---|", *rows])


def _walk(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    yield f"insula {name}", command
    if isinstance(command, TyperGroup):
        for child, inner in command.commands.items():
            yield from _walk(inner, f"{name} {child}")


def _help(command: Any, path: str) -> str:
    context = command.context_class(command, info_name=path, terminal_width=100, max_content_width=100)
    return str(command.get_help(context))


def _fenced(text: str, title: str = "") -> str:
    return (f"## {title}\n\n" if title else "") + f"```text\n{text.rstrip()}\n```\n"


def errors() -> str:
    """Return the page of error codes; problem documents link to it."""
    from insula.kernel.errors import InsulaError

    _import_everything()
    told = {name: text for name, text in _DRAWN.findall(_errors_doc()) if text}
    found = {
        kind.code: [str(kind.status), str(kind.exit_code), _when(kind, told)] for kind in _family(InsulaError)
    }
    found |= _EDGE
    rows = [f'| <a id="{code}"></a>`{code}` | {" | ".join(cells)} |' for code, cells in sorted(found.items())]
    head = ["| code | status | exit code | when |", "|---|---|---|---|"]
    return "\n".join(["# Errors\n", _ERRORS_INTRO, *head, *rows])


_ERRORS_INTRO = """Every error of the control plane is a problem document (RFC 9457): `type`, `title`,
`status`, `detail`, `code`, `hint`, `request_id`, and where they help `field`, `retry_after_s` and `details`.
The gateway answers in the shape that the caller's SDK expects, with the same `code`. The command line prints
`error:` and `hint:`.
"""
_EDGE = {
    "method_not_allowed": ["405", "1", "the path exists, but not for this method"],
    "internal_error": ["500", "1", "a defect of ours; the log knows the request id"],
}


def _errors_doc() -> str:
    from insula.kernel import errors as module

    return module.__doc__ or ""


def _family(kind: type[Any]) -> Iterator[type[Any]]:
    yield kind
    for child in kind.__subclasses__():
        yield from _family(child)


def _when(kind: type[Any], told: dict[str, str]) -> str:
    """Return when ``kind`` is raised: as drawn in the tree, else its docstring, else what its base says."""
    own = told.get(kind.__name__) or vars(kind).get("__doc__")
    if not own:
        return _when(kind.__mro__[1], told)
    line = str(own).partition("\n")[0].rstrip(".")
    return line[:1].lower() + line[1:]


def _import_everything() -> None:
    """Errors may be born in any room."""
    import insula

    for module in pkgutil.walk_packages(insula.__path__, "insula."):
        if not module.name.startswith("insula.agent") and not module.name.endswith("__main__"):
            importlib.import_module(module.name)


def scopes() -> str:
    """Return the page of scopes."""
    from insula.identity import scopes_table

    intro = (
        "A credential carries scopes; a route asks for one. A tenant's token only ever sees its own tenant.\n"
    )
    return f"# Scopes\n\n{intro}\n{scopes_table()}"


def settings() -> str:
    """Return the page of settings."""
    from insula.settings import Settings

    rows = []
    for name, field in Settings.model_fields.items():
        default = "by user" if field.default_factory is not None else _plain(field.default)
        rows.append(f"| `INSULA_{name.upper()}` | `{default}` | {field.description} |")
    intro = "From the environment; a flag of `insula up` wins over it.\n"
    return "\n".join(["# Settings\n", intro, "| variable | default | meaning |", "|---|---|---|", *rows])


def _plain(value: Any) -> str:
    return str(getattr(value, "value", value))


def api() -> str:
    """Return the page of the control plane's routes."""
    from insula.api.app import openapi

    document = openapi()
    parts = ["# API\n", document["info"]["description"] + "\n"]
    for tag, operations in _by_tag(document).items():
        rows = [f"| `{method} {path}` | {summary} |" for method, path, summary in operations]
        parts += [f"## {tag[:1].upper()}{tag[1:]}\n", "| route | does |", "|---|---|", *rows, ""]
    return "\n".join(parts)


def _by_tag(document: dict[str, Any]) -> dict[str, list[tuple[str, str, str]]]:
    found: dict[str, list[tuple[str, str, str]]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            summary = operation.get("description", "").partition("\n")[0]
            found.setdefault(operation["tags"][0], []).append((method.upper(), path, summary))
    return found


def main() -> None:
    """Write the pages."""
    directory = Path(sys.argv[1]) if len(sys.argv) > 1 else DIRECTORY
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (directory / name).write_text(text)


if __name__ == "__main__":
    main()
