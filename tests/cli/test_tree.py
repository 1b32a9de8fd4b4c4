"""The command tree: quick to load, complete in its help, and clear about what it could not read."""

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from typer.core import TyperGroup

from insula.cli.app import app
from insula.cli.exits import MEANINGS, ExitCode, exit_code_of
from insula.cli.groups import SECTIONS
from insula.cli.main import run
from insula.kernel.errors import InsulaError

HEAVY = (
    "fastapi",
    "starlette",
    "httpx2",
    "pydantic",
    "sqlalchemy",
    "rich",
    "dbos",
    "uvicorn",
    "insula.wiring",
)


def walk(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    yield name, command
    if isinstance(command, TyperGroup):
        for child, inner in command.commands.items():
            yield from walk(inner, f"{name} {child}")


ROOT = typer.main.get_command(app)
COMMANDS = dict(walk(ROOT, "insula"))


def test_the_help_needs_nothing_heavy() -> None:
    code = f"""
import sys
from insula.cli.main import run
run(["--help"])
sys.exit(",".join(name for name in {HEAVY!r} if name in sys.modules) or 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "insula demo" in done.stdout


def test_every_command_is_in_one_section_of_the_help() -> None:
    listed = [name for names in SECTIONS.values() for name in names]
    assert isinstance(ROOT, TyperGroup)
    assert sorted(listed) == sorted(ROOT.commands)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_parameter_is_explained(name: str) -> None:
    command = COMMANDS[name]
    assert command.help
    for parameter in command.params:
        assert parameter.name == "help" or parameter.help, parameter.name


@pytest.mark.parametrize("name", COMMANDS)
def test_every_help_page_can_be_printed(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*name.split()[1:], "--help"]) == 0
    assert capsys.readouterr().out.startswith(f"Usage: {name} ")


@pytest.mark.parametrize(
    ("line", "code", "told"),
    [
        ("tennant list", 2, "Did you mean 'tenant'"),
        ("tenant create", 2, "Missing argument"),
        ("limit set acme --rpm many", 2, "--rpm"),
        ("limit set acme", 2, "nothing to set"),
        ("run acme/x --follow --detach", 2, "exclude each other"),
        ("run start acme", 2, "TENANT/AGENT"),
        ("run acme/x --input /nonexistent", 2, "can't be read"),
        ("agent deploy acme /nonexistent", 2, "not a directory"),
        ("tenant delete acme", 2, "confirmed"),
        ("tenant show ..", 1, "no platform is running"),
        ("--home /nonexistent tenant list", 1, "no platform is running in /nonexistent"),
        ("tenant list --home /nonexistent", 1, "no platform is running in /nonexistent"),
        ("tenant list --url http://127.0.0.1:1", 4, "needs a token"),
        ("tenant list --url http://127.0.0.1:1 --token x", 1, "no platform answers"),
    ],
)
def test_a_mistake_is_told_with_its_fix(
    line: str, code: int, told: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INSULA_HOME", "/nonexistent/home")
    for name in ("INSULA_URL", "INSULA_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    assert run(line.split()) == code
    output, errors = capsys.readouterr()
    assert output == ""
    assert errors.startswith("error: ")
    assert told in errors
    assert "\nhint: " in errors


def family(kind: type[InsulaError]) -> Iterator[type[InsulaError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from family(child)


def test_every_error_ends_with_a_documented_exit_code() -> None:
    assert set(MEANINGS) == set(ExitCode)
    for kind in family(InsulaError):
        assert exit_code_of(kind("x")) in MEANINGS


def test_exit_codes_is_a_help_topic(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["exit-codes"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition("\t")[0] for line in lines] == ["0", "1", "2", "3", "4", "130"]


def test_a_secret_on_the_command_line_is_in_no_representation() -> None:
    from insula.cli.place import Place

    assert "hush" not in repr(Place.of(None, None, "hush", False))
