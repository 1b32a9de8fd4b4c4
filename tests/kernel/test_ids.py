"""Names are taken as they are or refused; minted ids sort by time and never collide."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from insula.kernel import ids
from insula.kernel.clock import ManualClock, rfc3339
from insula.kernel.errors import InvalidRequest
from insula.kernel.ids import agent_name, mint, minted, run_id, tenant_id

LABELS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,46}[a-z0-9])?", fullmatch=True)


@given(LABELS)
def test_a_valid_name_is_returned_unchanged(name: str) -> None:
    assert tenant_id(name) == name
    assert agent_name(name) == name


@given(st.text(max_size=60))
def test_no_other_text_becomes_a_name(text: str) -> None:
    allowed = set("abcdefghijklmnopqrstuvwxyz0123456789-")
    valid = 0 < len(text) <= 48 and set(text) <= allowed and text[0] != "-" and text[-1] != "-"
    if valid:
        assert tenant_id(text) == text
    else:
        with pytest.raises(InvalidRequest) as refused:
            tenant_id(text)
        assert refused.value.field == "tenant"
        assert refused.value.hint


@pytest.mark.parametrize(
    "name",
    [
        "",
        "A",
        "a/b",
        "..",
        "a b",
        "a\n",
        "\uff41",
        "-a",
        "a-",
        "a_b",
        "a.b",
        "x" * 49,
        None,
        7,
        ["a"],
        "a\x00",
    ],
)
def test_hostile_names_are_refused(name: object) -> None:
    with pytest.raises(InvalidRequest):
        tenant_id(name)


def test_a_minted_id_is_milliseconds_and_chance_in_base_32(monkeypatch: pytest.MonkeyPatch) -> None:
    chance = bytes(range(200, 210))
    monkeypatch.setattr(ids, "token_bytes", lambda count: chance[:count])
    number = 0
    for digit in mint("req", ManualClock(1_796_083_000.123)).removeprefix("req_"):
        number = number * 32 + "0123456789abcdefghjkmnpqrstvwxyz".index(digit)
    assert divmod(number, 1 << 80) == (1_796_083_000_123, int.from_bytes(chance, "big"))


def test_minted_ids_sort_by_time() -> None:
    clock = ManualClock()
    ids = []
    for _ in range(50):
        ids.append(mint("run", clock))
        clock.advance(0.002)
    assert ids == sorted(ids)
    assert len(set(ids)) == 50
    assert all(run_id(one) == one for one in ids)


def test_two_ids_of_the_same_instant_differ() -> None:
    clock = ManualClock()
    assert len({mint("key", clock) for _ in range(1000)}) == 1000


@pytest.mark.parametrize("text", ["run_", "key_01k0000000000000000000000a", "run_" + "u" * 26, "run_../x", 3])
def test_only_the_minted_shape_is_an_id(text: object) -> None:
    with pytest.raises(InvalidRequest):
        minted(text, "run")


def test_stamps_are_utc() -> None:
    assert rfc3339(0.25) == "1970-01-01T00:00:00.250Z"
