"""The catalog and the entitlements: names, bounds, what survives a restart, what never shows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from insula.kernel.errors import AlreadyExists, InsulaError, InvalidRequest, NotFound
from insula.models import Catalog, Endpoint, Entitlements, Kind, Model
from insula.models.adapters.sql import SqlModels
from insula.models.capacity import figures
from insula.models.endpoint import base_url
from insula.storage import ControlDatabase


class Keys:
    def __init__(self) -> None:
        self.held: dict[str, str] = {}

    def put(self, name: str, value: str) -> None:
        self.held[name] = value

    def delete(self, name: str) -> None:
        del self.held[name]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlModels]:
    control = ControlDatabase(tmp_path / "control.db")
    yield SqlModels(control)
    control.close()


def test_endpoints_survive_and_their_keys_lie_elsewhere(store: SqlModels) -> None:
    keys = Keys()
    catalog = Catalog(store, keys)
    catalog.add_endpoint("main", "openai", "http://h:1/v1/", ["m1", Model("m2", 100, 10)], "sk-1")
    again = Catalog(store, keys)
    assert again.endpoints() == catalog.endpoints()
    assert again.find("m2") is not None and again.find("m2").model.max_output == 10  # type: ignore[union-attr]
    assert keys.held == {"endpoint/main": "sk-1"}
    assert "sk-1" not in repr(again.endpoints())
    again.remove("main")
    assert not keys.held and not Catalog(store, keys).endpoints() and again.find("m1") is None


def test_what_an_endpoint_bears_survives_and_can_be_lifted(store: SqlModels) -> None:
    catalog = Catalog(store, Keys())
    catalog.add_endpoint("main", "openai", "http://h:1/v1/", ["m1"])
    catalog.set_capacity("main", {"slots": 8, "decode_tps": 700})
    again = Catalog(store, Keys())
    assert figures(again.endpoint("main").capacity) == {
        "slots": 8,
        "kv_tokens": None,
        "prefill_tps": None,
        "decode_tps": 700,
    }
    served = again.find("m1")
    assert served is not None and served.endpoint is again.endpoint("main")
    again.set_capacity("main", {"slots": None, "decode_tps": None})
    assert Catalog(store, Keys()).endpoint("main").capacity is None


@pytest.mark.parametrize("wrong", [{"slots": 0}, {"slots": True}, {"kv_tokens": 10**10}, {"wheels": 4}])
def test_a_capacity_is_whole_and_known(store: SqlModels, wrong: dict[str, int]) -> None:
    catalog = Catalog(store, Keys())
    catalog.add_endpoint("main", "openai", "http://h:1/v1/", ["m1"])
    with pytest.raises(InvalidRequest):
        catalog.set_capacity("main", wrong)
    assert catalog.endpoint("main").capacity is None


def test_a_model_has_one_endpoint(store: SqlModels) -> None:
    catalog = Catalog(store, Keys())
    catalog.add_endpoint("one", "openai", "http://h/v1", ["m1"])
    with pytest.raises(AlreadyExists, match="already served by 'one'"):
        catalog.add_endpoint("two", "openai", "http://h/v1", ["m2", "m1"])
    with pytest.raises(AlreadyExists):
        catalog.add_endpoint("one", "openai", "http://h/v1", ["m3"])
    assert catalog.find("m2") is None


def test_a_local_endpoint_comes_and_goes_and_is_not_stored(store: SqlModels) -> None:
    catalog = Catalog(store, Keys())
    told: list[str] = []
    catalog.watch(told.append)
    catalog.attach_local(Endpoint("local", Kind.LOCAL, "http://127.0.0.1:1/v1", (Model("g"),)))
    assert catalog.find("g") is not None and not Catalog(store, Keys()).endpoints()
    with pytest.raises(InvalidRequest):
        catalog.remove("local")
    catalog.detach_local("local")
    catalog.detach_local("local")
    assert catalog.find("g") is None and told == ["local", "local"]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": "Has Space"}, "name"),
        ({"name": "-x"}, "name"),
        ({"kind": "bedrock"}, "kind"),
        ({"url": "ftp://h/"}, "base_url"),
        ({"url": "http://"}, "base_url"),
        ({"url": "http://u:p@h/v1"}, "base_url"),
        ({"url": "http://h/v1?key=x"}, "base_url"),
        ({"url": "http://h:99999/v1"}, "base_url"),
        ({"url": "http://h\r\nx: y/v1"}, "base_url"),
        ({"url": 7}, "base_url"),
        ({"models": []}, "models"),
        ({"models": ["a", "a"]}, "models"),
        ({"models": ["bad id"]}, "model"),
        ({"models": ["x" * 200]}, "model"),
        ({"key": ""}, "key"),
        ({"key": "a\r\nb"}, "key"),
        ({"output_field": "n_predict"}, "output_field"),
    ],
)
def test_what_is_wrong_with_an_endpoint_is_named(
    store: SqlModels, change: dict[str, object], field: str
) -> None:
    keys = Keys()
    sane = {"name": "main", "kind": "openai", "url": "http://h/v1", "models": ["m1"]}
    with pytest.raises(InvalidRequest) as refused:
        Catalog(store, keys).add_endpoint(**{**sane, **change})  # type: ignore[arg-type]
    assert refused.value.field == field and refused.value.hint
    assert not keys.held and not store.endpoints()


@given(st.text())
def test_a_base_url_is_clean_or_refused(text: str) -> None:
    for url in (text, "http://" + text):
        try:
            clean = base_url(url)
        except InvalidRequest:
            continue
        assert clean.startswith(("http://", "https://")) and not clean.endswith("/")
        assert clean.isascii() and clean.isprintable() and " " not in clean
        assert base_url(clean) == clean


def test_grants_survive_change_and_go(store: SqlModels) -> None:
    rights = Entitlements(store)
    rights.entitle("acme", "m2", max_output=5)
    rights.entitle("acme", "m1")
    rights.entitle("acme", "m2", max_context=9)
    rights.entitle("bolt", "m1")
    again = Entitlements(store)
    held = [(one.model, one.max_context, one.max_output) for one in again.list("acme")]
    assert held == [("m1", None, None), ("m2", 9, None)]
    again.revoke("acme", "m1")
    assert again.find("acme", "m1") is None and again.find("bolt", "m1") is not None
    with pytest.raises(NotFound):
        again.revoke("acme", "m1")
    again.forget("acme")
    assert not Entitlements(store).list("acme") and Entitlements(store).list("bolt")


@pytest.mark.parametrize("bound", [0, -1, 1.5, True, "7", 10**12])
def test_a_bound_is_a_number_of_tokens(store: SqlModels, bound: object) -> None:
    with pytest.raises(InsulaError) as refused:
        Entitlements(store).entitle("acme", "m1", max_output=bound)  # type: ignore[arg-type]
    assert refused.value.field == "max_output"
