from hypothesis import given
from hypothesis import strategies as st

from insula.cli.anywhere import FLAGS, VALUED, to_front

OURS = st.one_of(
    st.sampled_from(sorted(FLAGS)).map(lambda flag: [flag]),
    st.tuples(st.sampled_from(sorted(VALUED)), st.text(min_size=1)).map(list),
    st.tuples(st.sampled_from(sorted(VALUED)), st.text()).map(lambda pair: [f"{pair[0]}={pair[1]}"]),
)
THEIRS = st.text().filter(lambda word: word != "--" and word.partition("=")[0] not in FLAGS | VALUED)


@given(st.lists(st.one_of(OURS, THEIRS.map(lambda word: [word]))))
def test_nothing_is_lost_and_both_orders_stay(groups: list[list[str]]) -> None:
    ours = [word for group in groups if is_ours(group) for word in group]
    theirs = [word for group in groups if not is_ours(group) for word in group]
    assert to_front([word for group in groups for word in group]) == ours + theirs


def is_ours(group: list[str]) -> bool:
    return group[0].partition("=")[0] in FLAGS | VALUED


@given(st.lists(st.text()), st.lists(st.text()))
def test_what_follows_the_double_dash_stays(before: list[str], after: list[str]) -> None:
    before = [word for word in before if word not in VALUED]
    moved = to_front([*before, "--", *after])
    assert moved[len(moved) - len(after) :] == after


def test_an_option_without_its_value_is_left_for_the_parser_to_complain_about() -> None:
    assert to_front(["tenant", "list", "--home"]) == ["tenant", "list", "--home"]
