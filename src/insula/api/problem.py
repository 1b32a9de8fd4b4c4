"""Problem documents (RFC 9457): the one shape of every error on the control plane.

``type`` is a relative reference to the page that explains the code, ``code`` is stable and for
machines, ``hint`` says what to do next, ``field`` names the input at fault.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from insula.kernel.errors import InsulaError, InvalidRequest, Unauthenticated

MEDIA_TYPE = "application/problem+json"
PAGE = "/docs/reference/errors.md#"

_HTTP_CODES = {404: "not_found", 405: "method_not_allowed", 413: "too_large", 415: "unsupported_media_type"}
_HTTP_HINTS = {
    400: "send one JSON object with content-type application/json",
    404: "the paths are listed in /api/v1/openapi.json",
    405: "the Allow header lists the methods this path takes",
}


class Problem(BaseModel):
    """The body of every error answer."""

    model_config = ConfigDict(extra="forbid")

    type: str = Field(description="Where the code is explained.")
    title: str = Field(description="The status in words.")
    status: int
    detail: str = Field(description="What is wrong, for a person.")
    code: str = Field(description="What is wrong, for a program; stable.")
    hint: str = Field(description="What to do about it; may be empty.")
    request_id: str = Field(description="Name this when asking for help; the log knows it.")
    field: str | None = Field(default=None, description="The input that carries the problem.")
    retry_after_s: float | None = Field(default=None, description="How long waiting helps.")
    details: dict[str, Any] = Field(default_factory=dict, description="Extras for programs.")


def document(error: InsulaError, request_id: str, status: int | None = None) -> Problem:
    """Return the problem document of ``error``."""
    at = error.status if status is None else status
    return Problem(
        type=f"{PAGE}{error.code}",
        title=HTTPStatus(at).phrase,
        status=at,
        detail=error.message,
        code=error.code,
        hint=error.hint,
        request_id=request_id,
        field=error.field,
        retry_after_s=error.retry_after_s,
        details=dict(error.details),
    )


def answer(problem: Problem, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """Return ``problem`` as a response, with ``Retry-After`` and ``WWW-Authenticate`` where they belong."""
    extra = dict(headers or {})
    if problem.retry_after_s is not None:
        extra["retry-after"] = str(max(1, math.ceil(problem.retry_after_s)))
    if problem.status == HTTPStatus.UNAUTHORIZED:
        extra["www-authenticate"] = "Bearer"
    return JSONResponse(
        problem.model_dump(exclude_none=True), problem.status, headers=extra, media_type=MEDIA_TYPE
    )


def from_validation(errors: Sequence[Mapping[str, Any]]) -> InvalidRequest:
    """Return the first validation failure as an error that names field, problem and fix."""
    first = errors[0]
    where, *path = [str(part) for part in first["loc"]] or ["body"]
    field = ".".join(path) or where
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return InvalidRequest(
        f"{where} {field}: {first['msg'].lower()}{more}"
        if path
        else f"{where}: {first['msg'].lower()}{more}",
        hint=_validation_hint(str(first["type"]), field),
        field=field,
        problems=[{"field": ".".join(map(str, e["loc"][1:])), "problem": e["msg"]} for e in errors[:20]],
    )


def _validation_hint(kind: str, field: str) -> str:
    if kind == "extra_forbidden":
        return f"remove {field!r}, or check its spelling against /api/v1/openapi.json"
    if kind == "missing":
        return f"give {field!r}"
    if kind == "json_invalid":
        return "send one JSON object with content-type application/json"
    return "the accepted form is in /api/v1/openapi.json"


def request_id_of(request: Request) -> str:
    """Return the id that the access layer gave this request."""
    return str(request.scope.get("state", {}).get("request_id", "req_unknown"))


def install(app: FastAPI) -> None:
    """Answer every failure of ``app`` with a problem document."""

    async def on_insula(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, InsulaError)
        return answer(document(error, request_id_of(request)))

    async def on_validation(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        return answer(document(from_validation(error.errors()), request_id_of(request)))

    async def on_http(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        headers = dict(error.headers or {})
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            headers["allow"] = allowed(app.openapi()["paths"], request.url.path) or headers.get("Allow", "")
            headers.pop("Allow", None)
        return answer(_http_problem(request, error), headers)

    app.add_exception_handler(InsulaError, on_insula)
    app.add_exception_handler(RequestValidationError, on_validation)
    app.add_exception_handler(HTTPException, on_http)


def allowed(paths: Mapping[str, Mapping[str, Any]], path: str) -> str:
    """Return the value of ``Allow``: each method that a template of an OpenAPI document takes at ``path``."""
    methods = {
        method.upper()
        for template, operations in paths.items()
        if re.fullmatch(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(template)), path)
        for method in operations
    }
    return ", ".join(sorted(methods))


def _http_problem(request: Request, error: HTTPException) -> Problem:
    """Return the document of a failure that the framework itself found (no route, wrong method)."""
    status = error.status_code
    if status == HTTPStatus.UNAUTHORIZED:
        return document(Unauthenticated(str(error.detail)), request_id_of(request))
    code = _HTTP_CODES.get(status, "invalid_request")
    return Problem(
        type=f"{PAGE}{code}",
        title=HTTPStatus(status).phrase,
        status=status,
        detail=f"{request.method} {request.url.path[:200]}: {str(error.detail).lower()}",
        code=code,
        hint=_HTTP_HINTS.get(status, ""),
        request_id=request_id_of(request),
    )
