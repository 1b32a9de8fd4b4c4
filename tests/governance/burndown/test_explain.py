"""``insula limits explain``: the arithmetic as it is shown, without a running platform."""

import json
from pathlib import Path

import pytest

from insula.cli.main import run


def told(capsys: pytest.CaptureFixture[str], line: str) -> dict[str, object]:
    assert run([*line.split(), "--json"]) == 0
    found: dict[str, object] = json.loads(capsys.readouterr().out)
    return found


@pytest.fixture(autouse=True)
def _no_own_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("INSULA_BURNDOWN", raising=False)


@pytest.mark.parametrize("noun", ["limit", "limits"])
def test_quota_and_money_stand_beside_each_other(noun: str, capsys: pytest.CaptureFixture[str]) -> None:
    line = (
        f"{noun} explain claude-opus-4-8 --input 1000 --output 500 --provider aws --endpoint bedrock-runtime"
    )
    found = told(capsys, f"{line} --cache-read 400 --cache-write 100 --on 2026-10-01")
    assert (found["quota"], found["input_side"], found["output_side"]) == (8_100, 600, 7_500)
    assert found["sum_milli"] == 8_100_000
    assert found["money"] != {"usd": None, "nanousd": None, "prices": "unpriced"}


def test_the_day_decides(capsys: pytest.CaptureFixture[str]) -> None:
    line = "limits explain claude-3-5-sonnet --input 0 --output 10 --provider aws --endpoint bedrock-runtime"
    assert told(capsys, f"{line} --on 2026-08-31")["quota"] == 10
    assert told(capsys, f"{line} --on 2026-09-01")["quota"] == 50


def test_without_a_provider_the_strictest_place_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    found = told(capsys, "limits explain claude-opus-4-8 --input 1000 --output 500 --on 2026-10-01")
    assert (found["provider"], found["quota"]) == ("aws", 8_500)
    assert found["elsewhere"] == [
        {"provider": "anthropic", "endpoint": "*", "quota": 1_500, "assumed": False}
    ]


def test_an_assumption_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["limits", "explain", "claude-opus-9", "--input", "1", "--output", "1"]) == 0
    output, talk = capsys.readouterr()
    assert "x      15 =" in output
    assert "warning: no row speaks of claude-opus-9" in talk


def test_an_own_file_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    own = tmp_path / "own.toml"
    own.write_text(
        '[[row]]\nprovider = "acme"\nendpoint = "*"\nmodel = "big"\nfamily = "big"\n'
        "effective_from = 2026-01-01\nout = 2500\nin = 1\ncache_read = 0\ncache_write = 0\n"
        'source = "us"\nchecked_on = 2026-01-01\nconfidence = "vendor"\n'
    )
    monkeypatch.setenv("INSULA_BURNDOWN", str(own))
    found = told(capsys, "limits explain big --input 1 --output 1 --on 2026-02-01")
    assert (found["quota"], found["sum_milli"]) == (3, 2_501)
    own.write_text(own.read_text().replace("2500", "-1"))
    assert run(["limits", "explain", "big", "--input", "1", "--output", "1"]) == 1
    assert "out is -1" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        "--input 1 --cache-read 2 --output 1",
        "--input -1 --output 1",
        "--input 1 --output 1 --on soon",
        "--input 1e9 --output 1",
        "--input 9999999999999 --output 1",
    ],
)
def test_bad_figures_are_refused_with_a_fix(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["limits", "explain", "m", *words.split()]) == 2
    assert "hint: " in capsys.readouterr().err
