import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from insula.cli.harmless import harmless


@given(st.text())
def test_no_control_character_survives_but_newline_and_tab(text: str) -> None:
    assert not {char for char in harmless(text) if unicodedata.category(char) == "Cc"} - {"\n", "\t"}


@given(st.text(alphabet=st.characters(categories=["L", "N", "P", "S", "Zs"])))
def test_ordinary_text_is_untouched(text: str) -> None:
    assert harmless(text) == text


@pytest.mark.parametrize(
    "attack",
    ["\x1b]0;title\x07", "\x1b[2J", "\x9b31m", "safe\rrm -rf", "\u202etxt.exe", "\x1b]52;c;aGk=\x07"],
)
def test_terminal_attacks_are_made_visible(attack: str) -> None:
    assert not set(harmless(attack)) & set("\x1b\x9b\r\x07\u202e")
