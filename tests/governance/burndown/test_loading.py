"""An operator's own rows: above ours, and refused whole when one of them is not right."""

from datetime import date
from pathlib import Path

import pytest

from insula.governance.burndown import load
from insula.governance.burndown.loading import parse
from insula.kernel.errors import Misconfigured

ROW = {
    "provider": '"aws"',
    "endpoint": '"bedrock-runtime"',
    "model": '"claude-opus-4.8"',
    "family": '"claude"',
    "effective_from": "2026-10-01",
    "out": "7500",
    "in": "1000",
    "cache_read": "0",
    "cache_write": "1250",
    "source": '"our contract"',
    "checked_on": "2026-10-01",
    "confidence": '"vendor"',
}


def text(**changes: str | None) -> str:
    fields = {name.rstrip("_"): value for name, value in {**ROW, **changes}.items() if value is not None}
    return "[[row]]\n" + "\n".join(f"{name} = {value}" for name, value in fields.items())


def test_an_own_row_is_above_ours_from_its_day(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text(text())
    table = load(own)
    burn = table.find("aws", "bedrock-runtime", "us.anthropic.claude-opus-4-8-v1:0", date(2026, 10, 1))
    assert (burn.output, burn.cache_write, burn.source) == (7_500, 1_250, "our contract")
    assert burn.version.startswith("own:")
    assert table.find("aws", "bedrock-runtime", "claude-opus-4-8", date(2026, 9, 30)).output == 15_000


def test_an_own_catch_all_stands_above_every_row_of_ours(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text(text(model='"*"', family='"*"'))
    assert load(own).find("aws", "bedrock-runtime", "claude-fable-5", date(2026, 11, 1)).output == 7_500


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"out": "-1"}, "out"),
        ({"out": "nan"}, "out"),
        ({"out": "inf"}, "out"),
        ({"out": "7.5"}, "out"),
        ({"out": "true"}, "out"),
        ({"out": '"7500"'}, "out"),
        ({"out": "1000001"}, "out"),
        ({"cache_read": None}, "cache_read"),
        ({"provider": '""'}, "provider"),
        ({"model": "5"}, "model"),
        ({"source": None}, "source"),
        ({"effective_from": '"2026-10-01"'}, "effective_from"),
        ({"effective_from": "2026-10-01T00:00:00Z"}, "effective_from"),
        ({"checked_on": None}, "checked_on"),
        ({"confidence": '"sure"'}, "confidence"),
        ({"ouput": "5000"}, "ouput"),
    ],
)
def test_a_bad_row_is_refused_with_field_and_fix(change: dict[str, str | None], field: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        parse(text(**change), "own.toml")
    assert caught.value.field == field
    assert caught.value.hint


@pytest.mark.parametrize(
    "bad", ["[[row]", "rows = 1", "row = 1", "row = [1]", text() + "\n" + text(), "x = " + "[" * 10_000]
)
def test_a_bad_file_is_refused(bad: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        parse(bad, "own.toml")
    assert caught.value.hint


def test_a_misspelt_field_gets_a_guess() -> None:
    with pytest.raises(Misconfigured, match="ouput") as caught:
        parse(text(ouput="1"), "own.toml")
    assert caught.value.hint == "did you mean out?"


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured) as caught:
        load(tmp_path / "none.toml")
    assert caught.value.field == "burndown"
