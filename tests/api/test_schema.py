"""The OpenAPI document against the running platform: whatever it allows to be sent, no answer breaks it."""

import contextlib
from typing import Any

import httpx2
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from insula.api.app import openapi

SCHEMA = schemathesis.openapi.from_dict(openapi())
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    unsupported_method,
]
# Building runtimes takes minutes, and following a run takes as long as the run.
SLOW = SCHEMA.exclude(path="/api/v1/runtimes", method="POST")
QUICK = settings(
    max_examples=4,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
    derandomize=True,
)


@schemathesis.serializer("application/gzip")
def _gzip(_context: Any, value: Any) -> Any:
    return value if isinstance(value, bytes) else str(value).encode()


def test_the_document_is_openapi_3_1_and_every_operation_has_one_name() -> None:
    document = openapi()
    assert document["openapi"].startswith("3.1")
    names = [one["operationId"] for methods in document["paths"].values() for one in methods.values()]
    assert len(names) == len(set(names))


@pytest.fixture(scope="module")
def known_tenant(operator: httpx2.Client) -> str:
    """A tenant that exists, so that what is sent gets past the door."""
    operator.post("/tenants", json={"id": "known"})
    return "known"


@SLOW.parametrize()
@QUICK
def test_no_answer_breaks_the_document(case: Any, served: Any, known_tenant: str) -> None:
    headers = {"authorization": f"Bearer {served.operator}"}
    if "tenant" in case.path_parameters and case.method not in {"DELETE"}:
        case.path_parameters["tenant"] = known_tenant
    with contextlib.suppress(schemathesis.errors.SerializationNotPossible):
        case.call_and_validate(base_url=served.url, headers=headers, checks=CHECKS, timeout=20)


def test_there_is_something_to_check() -> None:
    assert len(list(SLOW.get_all_operations())) > 40
