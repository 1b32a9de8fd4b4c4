"""A model and the endpoint that serves it: plain data, checked on the way in."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import urlsplit

from insula.governance.fairness import Capacity
from insula.kernel.errors import InvalidRequest

_MODEL_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,127}")
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,46}[a-z0-9])?")
_MAX_TOKENS = 100_000_000


class Kind(StrEnum):
    """How an endpoint is spoken to, and who runs it."""

    OPENAI = "openai"  # any server with the OpenAI wire format
    LOCAL = "local"  # the same wire format, run by this platform as a child process


@dataclass(frozen=True, slots=True)
class Model:
    """One model id and the bounds its server states (``None``: not stated)."""

    id: str
    context_tokens: int | None = None
    max_output: int | None = None

    def __post_init__(self) -> None:
        model_id(self.id)
        token_bound(self.context_tokens, "context_tokens")
        token_bound(self.max_output, "max_output")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A server that answers for some models. ``secret`` names a platform secret; never holds one.

    ``output_field`` is the request field that bounds the output when the caller set none: newer
    servers of the format want ``max_completion_tokens``, most want ``max_tokens``. ``capacity`` is what the
    server bears, as far as the operator says: calls at once (``slots``), tokens a second, tokens of cache.
    """

    name: str
    kind: Kind
    base_url: str
    models: tuple[Model, ...]
    secret: str | None = None
    output_field: str = field(default="max_tokens")
    capacity: Capacity | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            raise InvalidRequest(
                f"endpoint name {self.name!r} is not valid",
                hint="use 1 to 48 of a-z, 0-9 and '-', beginning and ending with a letter or digit",
                field="name",
            )
        if not self.models:
            raise InvalidRequest(
                "an endpoint serves at least one model", hint="add --model ID", field="models"
            )
        ids = [model.id for model in self.models]
        if len(set(ids)) != len(ids):
            raise InvalidRequest("a model is listed twice", hint="name each model once", field="models")
        if self.output_field not in {"max_tokens", "max_completion_tokens"}:
            raise InvalidRequest(
                f"{self.output_field!r} is not an output bound",
                hint="use max_tokens or max_completion_tokens",
                field="output_field",
            )


def model_id(value: object) -> str:
    """Return ``value`` as a model id. Raises ``InvalidRequest``."""
    if not isinstance(value, str) or not _MODEL_ID.fullmatch(value):
        raise InvalidRequest(
            f"model id {repr(value)[:80]} is not valid",
            hint="use 1 to 128 of letters, digits and . _ : / @ + -, beginning with a letter or digit",
            field="model",
        )
    return value


def token_bound(value: object, what: str) -> int | None:
    """Return ``value`` as a bound in tokens (``None``: no bound). Raises ``InvalidRequest``."""
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= _MAX_TOKENS:
        raise InvalidRequest(
            f"{what} {repr(value)[:40]} is not a number of tokens",
            hint=f"use a whole number from 1 to {_MAX_TOKENS}",
            field=what,
        )
    return value


def base_url(value: object) -> str:
    """Return an http(s) base URL without a trailing slash; a bare host gets the usual ``/v1``.

    Raises ``InvalidRequest`` for another scheme, credentials, a query, a fragment or a bad port.
    """
    hint = "use http(s)://host[:port]/v1; the key goes into its own option"
    if not isinstance(value, str) or len(value) > 2000 or not value.isprintable() or not value.isascii():
        raise InvalidRequest("the base URL is not plain text", hint=hint, field="base_url")
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError as error:
        raise InvalidRequest(f"the base URL is malformed: {error}", hint=hint, field="base_url") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname or " " in value or port == 0:
        raise InvalidRequest(f"{value!r} is not an http(s) URL with a host", hint=hint, field="base_url")
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise InvalidRequest(
            "a base URL carries no credentials, query or fragment", hint=hint, field="base_url"
        )
    path = parts.path.rstrip("/") or "/v1"
    return f"{parts.scheme}://{parts.netloc}{path}"
