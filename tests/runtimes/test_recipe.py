"""Names and requirements that a runtime may be made from."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from insula.kernel.errors import InvalidRequest
from insula.runtimes import Recipe


@pytest.mark.parametrize(
    "text",
    [
        "openai",
        "openai>=3,<4",
        "openai ~= 3.1",
        "uvicorn[standard]==0.40.0",
        "tomli>=2; python_version < '3.11'",
        "# a comment\n\nhttpx2  # why\n",
        "idna==3.20 \\\n    --hash=sha256:" + "a" * 64,
    ],
)
def test_plain_requirements(text: str) -> None:
    assert Recipe("r", text).lines()


@pytest.mark.parametrize(
    "line",
    [
        "-e .",
        "--index-url http://somewhere",
        "-r other.txt",
        "./local",
        "/abs/path.whl",
        "package @ file:///x",
        "git+https://host/repo",
        "https://host/x.whl",
        "../up",
        "a b",
        "--no-binary :all:",
        "x==1 --install-option=y",
    ],
)
def test_options_paths_and_addresses_are_refused(line: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        Recipe("r", f"good\n{line}")
    assert refused.value.field == "requirements[2]"
    assert refused.value.hint


@pytest.mark.parametrize("name", ["", "Upper", "../x", "a" * 49, "-a", "a/b", "a\n"])
def test_names(name: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        Recipe(name)
    assert refused.value.field == "name"


@given(st.text(max_size=60))
def test_any_line_is_taken_or_refused_and_never_an_option(line: str) -> None:
    try:
        lines = Recipe("r", line).lines()
    except InvalidRequest:
        return
    assert not any(taken.startswith("-") for taken in lines)
