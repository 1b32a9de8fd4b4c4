"""A usage event is sound or does not exist."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from insula.kernel.errors import InvalidRequest
from insula.usage import SCHEMA, Tokens, UsageEvent

BAD: list[dict[str, Any]] = [
    *({"input_tokens": value} for value in (-1, 1.0, "5", None, True, 10**13, 10**5000)),
    *({"output_tokens": -1}, {"reasoning_tokens": 21}, {"quota_tokens": -1}, {"attempt": 1.5}),
    *({"cache_read_tokens": 60, "cache_write_tokens": 41}, {"cache_read_tokens": 101}),
    *({"cost_nanousd": value} for value in (-1, 0.5, 10**16, True)),
    *({"event_id": ""}, {"tenant_id": None}, {"model_id": "m" * 401}, {"run_id": ""}, {"agent_id": 5}),
    *({"timestamp": value} for value in (math.nan, math.inf, -1, "now", 10**12, None)),
    *({"kind": "tea"}, {"usage_source": "guess"}, {"stream_end": "whatever"}),
    *({name: value} for name in ("queue_ms", "ledger_tokens", "input_quota_tokens") for value in (-1, 0.5)),
    *({name: value} for name in ("fair_cost", "fair_charged") for value in (-1, 10**17, 1.0)),
    *({"app_id": ""}, {"user_id": "u" * 401}, {"parent_run_id": 1}, {"burn_version": None}, {"lane": "fast"}),
    *({"cache_write_1h_tokens": 1}, {"stream_end": "platform_crash"}, {"subject": "s" * 401}),
    *({"stream_end": "client_abort"}, {"stream_end": "upstream_error", "usage_source": "provider"}),
]


@pytest.mark.parametrize("change", BAD, ids=[next(iter(change)) for change in BAD])
def test_an_unsound_event_is_refused_by_field(make: Any, change: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest) as refused:
        make(**change)
    assert refused.value.field
    assert len(refused.value.message) < 200


def test_the_culprit_is_named_whichever_field_it_is(make: Any) -> None:
    """A sound event of the same types was seen before: the quick way must not let a bad figure by."""
    make()
    for name in ("input_tokens", "output_tokens", "attempt", "cost_nanousd", "fair_cost", "queue_ms"):
        with pytest.raises(InvalidRequest) as refused:
            make(**{name: -1})
        assert refused.value.field == name


def test_a_call_cut_by_a_budget_may_carry_the_final_figures(make: Any) -> None:
    for source in ("provider", "partial", "estimated"):
        assert make(stream_end="length", usage_source=source).stream_end == "length"


def test_a_cut_stream_is_charged_and_flagged(make: Any) -> None:
    for source in ("estimated", "partial"):
        assert make(stream_end="client_abort", usage_source=source).usage_source == source


COUNT = st.integers(0, 10**12)
TEXT = st.text(max_size=40)


@given(COUNT, COUNT, TEXT, st.none() | st.text(min_size=1, max_size=40), st.floats(0, 2e11))
def test_the_journal_form_loses_nothing(
    make: Any, read: int, wrote: int, text: str, name: Any, at: float
) -> None:
    event = make(
        input_tokens=read, output_tokens=wrote, subject=text, trace_id=text, run_id=name, timestamp=at
    )
    packed = event.pack()
    assert b"\n" not in packed
    assert UsageEvent.unpack(packed) == event


def test_lines_of_the_first_schema_are_still_read(make: Any) -> None:
    """As version 0.1 wrote it: 25 fields, the trace last."""
    line = (
        b'[1,"evt_1","acme","req_1","openai","m1",1790000000.5,1790000000.0,100,20,60,40,5,120,1234,"p1",'
        b'"researcher","run_1","s","e","rm",2,"llm","partial","client_abort","t"]'
    )
    event = UsageEvent.unpack(line)
    assert (event.event_id, event.tokens) == ("evt_1", Tokens(100, 60, 40, 20, 5))
    assert (event.attempt, event.stream_end, event.trace_id) == (2, "client_abort", "t")
    assert (event.app_id, event.lane, event.fair_cost, event.ledger_tokens) == (None, "", 0, 0)
    assert UsageEvent.unpack(event.pack()) == event
    with pytest.raises(InvalidRequest):
        UsageEvent.unpack(b"[2" + line[2:])


@given(st.binary(max_size=60) | st.sampled_from([b"[]", b"{}", b"[1]", b"null", b"[3" + b',""' * 37 + b"]"]))
def test_nothing_else_is_taken_for_an_event(garbage: bytes) -> None:
    with pytest.raises(InvalidRequest):
        UsageEvent.unpack(garbage)


def test_the_dict_names_every_field(make: Any) -> None:
    told = make().as_dict()
    assert told["schema"] == SCHEMA and told["tenant_id"] == "acme" and len(told) == 38


def usage(
    read: Any, wrote: Any, cached: Any = None, reasoning: Any = None, total: Any = None
) -> dict[str, Any]:
    return {
        "prompt_tokens": read,
        "completion_tokens": wrote,
        "total_tokens": total,
        "prompt_tokens_details": {"cached_tokens": cached},
        "completion_tokens_details": {"reasoning_tokens": reasoning},
    }


@pytest.mark.parametrize(
    ("given", "tokens"),
    [
        (usage(10, 5), Tokens(10, 0, 0, 5, 0)),
        (usage(10, 5, cached=8, reasoning=3, total=15), Tokens(10, 8, 0, 5, 3)),
        (usage(10, 5, reasoning=30, total=45), Tokens(10, 0, 0, 35, 30)),  # counted beside the output
        (usage(10, 5, cached=99, reasoning=99), Tokens(10, 10, 0, 5, 5)),
        (usage(10, 5, cached="8", reasoning=-3), Tokens(10, 0, 0, 5, 0)),
        (usage(0, 0), Tokens()),
        ({"prompt_tokens": 7}, Tokens(7)),
        ({"prompt_tokens": 7, "completion_tokens": 1, "prompt_tokens_details": None}, Tokens(7, 0, 0, 1, 0)),
    ],
)
def test_openai_figures_are_brought_to_one_convention(given: dict[str, Any], tokens: Tokens) -> None:
    assert Tokens.from_openai(given) == tokens


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
KEYS = tuple(usage(0, 0))


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(KEYS, ANYTHING)))
def test_whatever_a_server_sends_is_counted_or_refused(given: dict[str, Any]) -> None:
    try:
        tokens = Tokens.from_openai(given)
    except InvalidRequest as refused:
        assert refused.field in KEYS
        return
    assert tokens.cache_read + tokens.cache_write <= tokens.input
    assert tokens.reasoning <= tokens.output
    assert tokens.input == given["prompt_tokens"]
