from hypothesis import given
from hypothesis import strategies as st

from insula.api.paging import paged

NAMES = st.lists(st.text(min_size=1, max_size=4), unique=True)


@given(NAMES, st.integers(1, 5))
def test_pages_put_together_are_the_sorted_list(names: list[str], limit: int) -> None:
    seen: list[str] = []
    cursor = None
    while True:
        page, cursor = paged(names, str, cursor, limit)
        assert len(page) <= limit
        seen += page
        if cursor is None:
            break
    assert seen == sorted(names)


@given(NAMES, NAMES, st.integers(1, 5))
def test_what_stays_is_seen_once_while_others_come_and_go(
    stay: list[str], change: list[str], limit: int
) -> None:
    change = [name for name in change if name not in stay]
    first, cursor = paged(stay + change, str, None, limit)
    seen = list(first)
    while cursor is not None:
        page, cursor = paged(stay, str, cursor, limit)
        seen += page
    assert [name for name in seen if name in stay] == sorted(stay)
