"""The documents are true of the code where a machine can tell: links, names of files, rooms, decisions."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path
    for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "benchmarks").glob("*.md"))
    if path.is_file()
)
ROOMS = sorted(path.name for path in (ROOT / "src/insula").iterdir() if (path / "__init__.py").exists())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text()):
        if not re.match(r"[a-z]+:", target):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_specification_names_only_what_exists() -> None:
    named = re.findall(r"\b(?:tests|benchmarks)/[\w./-]+", (ROOT / "SPECIFICATION.md").read_text())
    assert len(named) > 20
    for name in named:
        assert (ROOT / name.rstrip(".")).exists(), name


def test_the_map_names_every_room() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    for room in ROOMS:
        assert f"`{room}/`" in text, room


def test_the_readme_leads_to_every_page() -> None:
    text = (ROOT / "README.md").read_text()
    for page in (ROOT / "docs").glob("*.md"):
        assert f"docs/{page.name}" in text, page.name


def test_every_decision_is_listed() -> None:
    listed = (ROOT / "docs/decisions/README.md").read_text()
    for record in (ROOT / "docs/decisions").glob("0*.md"):
        assert record.name in listed


def test_every_dependency_was_decided_or_belongs_to_development() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    decided = "\n".join(page.read_text() for page in (ROOT / "docs/decisions").glob("0*.md")).lower()
    for wanted in project["dependencies"]:
        name = re.split(r"[<>=\[ ]", wanted)[0]
        assert name.lower() in decided, f"no decision names {name}"


def test_make_lists_every_target() -> None:
    listed = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    targets = re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert {"setup", "demo", "test", "lint", "types", "bench", "fmt"} <= set(targets)
    assert all(f"  {target} " in listed for target in targets)
