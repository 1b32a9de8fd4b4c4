"""An operator's own prices: exact, ahead of the list, and refused whole when a row is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from insula.kernel.clock import ManualClock
from insula.kernel.errors import Misconfigured
from insula.usage import PriceBook, Tokens
from insula.usage.own_prices import load_prices

GOOD = """
[[price]]
model = "house-model"
input = "1.50"
output = 6
cache_read = "0.15"

[[price]]
model = "gpt-4o-mini"
input = "0.01"
output = "0.02"
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "prices.toml"
    path.write_text(text)
    return path


def test_own_prices_are_exact_and_go_before_the_list(tmp_path: Path) -> None:
    book = PriceBook(ManualClock(), load_prices(written(tmp_path, GOOD)))
    cost, version = book.cost_nanousd("openai", "house-model", Tokens(input=1000, cache_read=400, output=10))
    assert cost == 600 * 1500 + 400 * 150 + 10 * 6000
    assert version.startswith("own/") and book.quote("openai", "house-model").known
    assert book.cost_nanousd("openai", "gpt-4o-mini", Tokens(input=100, output=0))[0] == 100 * 10
    assert book.cost_nanousd("openai", "gpt-4o", Tokens(input=100))[1].startswith("genai-prices")
    assert not book.quote("openai", "nobody-knows").known


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("price = 1", "tables called price"),
        ("[[prices]]\nmodel = 'm'", "tables called price"),
        ("[[price]]\ninput = 1\noutput = 1", "names no model"),
        ("[[price]]\nmodel = 'm'\ninput = 1", "has no output"),
        ("[[price]]\nmodel = 'm'\ninput = -1\noutput = 1", "input is '-1'"),
        ("[[price]]\nmodel = 'm'\ninput = nan\noutput = 1", "input is 'nan'"),
        ("[[price]]\nmodel = 'm'\ninput = true\noutput = 1", "input is 'True'"),
        ("[[price]]\nmodel = 'm'\ninput = 1\noutput = 1\nunit = 'k'", "unknown field 'unit'"),
        ("[[price]]\nmodel = 'm'\ninput = '0.0000000000001'\noutput = 1", "input is"),
        ("[[price]]\nmodel='m'\ninput=1\noutput=1\n[[price]]\nmodel='m'\ninput=1\noutput=1", "a second time"),
        ("[[price", "not TOML"),
    ],
)
def test_a_wrong_row_is_refused_by_name(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(Misconfigured) as refused:
        load_prices(written(tmp_path, text))
    assert said in refused.value.message and refused.value.hint


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured):
        load_prices(tmp_path / "none.toml")
