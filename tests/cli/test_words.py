"""Words that somebody typed: paths, overrides, TENANT/AGENT, levels of limits."""

from pathlib import Path
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from insula.cli.commands.agents import split_agent
from insula.cli.commands.limits import limit_path
from insula.cli.overrides import parse_overrides
from insula.cli.paths import path
from insula.cli.saving import place_within
from insula.kernel.errors import InvalidRequest

NAMES = st.text(min_size=1).filter(lambda text: text not in {".", ".."})


@given(st.lists(NAMES.filter(lambda text: text.isprintable()), min_size=1, max_size=4))
def test_a_path_has_exactly_the_parts_that_were_given(parts: list[str]) -> None:
    assert [unquote(part) for part in path(*parts).split("/")[1:]] == parts


@pytest.mark.parametrize("part", ["", ".", ".."])
def test_a_part_that_names_another_place_is_refused(part: str) -> None:
    with pytest.raises(InvalidRequest, match="not a name"):
        path("tenants", part)


def test_overrides_are_words_or_numbers() -> None:
    told = parse_overrides(["compute=microvm", "memory-mib=512", "cpu_fraction=0.5"])
    assert told == {"compute": "microvm", "memory_mib": 512, "cpu_fraction": 0.5}


@pytest.mark.parametrize("word", ["compute", "=x", "compute=", ""])
def test_half_an_override_is_refused(word: str) -> None:
    with pytest.raises(InvalidRequest, match="NAME=VALUE"):
        parse_overrides([word])


@pytest.mark.parametrize("word", ["acme", "acme/", "/x", "a/b/c", ""])
def test_an_agent_is_named_with_its_tenant(word: str) -> None:
    with pytest.raises(InvalidRequest, match="TENANT/AGENT"):
        split_agent(word)


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        ("platform", "/platform/limits"),
        ("acme", "/tenants/acme/limits"),
        ("acme/x", "/tenants/acme/apps/x/limits"),
        ("acme/x/y", "/tenants/acme/apps/x/agents/y/limits"),
    ],
)
def test_a_level_has_one_path(scope: str, expected: str) -> None:
    assert limit_path(scope) == expected


@given(st.text(max_size=40))
def test_an_artifact_never_leaves_its_directory(name: str) -> None:
    root = Path("/nonexistent/artifacts")
    try:
        target = place_within(root, name)
    except (InvalidRequest, ValueError, OSError):
        return
    assert target != root
    assert target.is_relative_to(root)


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../../x", ".", "", "a\x1b[2J"])
def test_names_that_lead_out_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="leads out"):
        place_within(tmp_path, name)


def test_a_link_inside_the_directory_is_followed_before_judging(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "link").symlink_to("/etc")
    with pytest.raises(InvalidRequest, match="leads out"):
        place_within(tmp_path / "out", "link/passwd")
