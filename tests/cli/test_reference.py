from pathlib import Path

import pytest

from insula.cli.reference import pages

DIRECTORY = Path(__file__).parents[2] / "docs" / "reference"
PAGES = pages()


@pytest.mark.parametrize("name", PAGES)
def test_the_page_is_what_the_code_says(name: str) -> None:
    stale = f"docs/reference/{name} is stale; run: python -m insula.cli.reference"
    assert (DIRECTORY / name).read_text() == PAGES[name], stale
