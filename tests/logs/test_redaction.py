"""No credential passes the log pipeline, whatever field it hides in."""

import pytest

from insula.logs import redact


@pytest.mark.parametrize(
    "field",
    [
        "token",
        "Authorization",
        "api_key",
        "apikey",
        "client_secret",
        "cookie",
        "password",
        "dek",
        "private_key",
    ],
)
def test_fields_named_like_secrets_are_blanked(field: str) -> None:
    assert redact(None, "info", {field: "value"}) == {field: "***"}


@pytest.mark.parametrize(
    "value",
    [
        "ins_vk_abc-DEF_123",
        "Bearer abc.def",
        "sk-abcdefghijkl",
        "eyJhbGciOiJFZERTQSJ9.eyJ4IjoxfQ.c2ln",
    ],
)
def test_values_shaped_like_secrets_are_blanked(value: str) -> None:
    logged = redact(None, "info", {"event": f"failed with {value} in it"})
    assert value not in logged["event"]
    assert "failed with" in logged["event"]


def test_counts_of_tokens_stay() -> None:
    assert redact(None, "info", {"input_tokens": 7, "max_tokens": 9}) == {"input_tokens": 7, "max_tokens": 9}
