"""Errors in the shape that SDKs of the OpenAI format read: status, body, and headers that tell whether and
when to try again. Pure.

Those SDKs retry 408, 409, 429 and 5xx on their own; ``x-should-retry`` overrides the status. So whatever time
alone does not cure says ``false``, and whatever it does carries an honest wait.
"""

from __future__ import annotations

import json
import math
from typing import Any

from insula.kernel.errors import (
    AccessError,
    BudgetExhausted,
    CallerError,
    Denied,
    Draining,
    EnforcementUnavailable,
    ExceedsLimit,
    InsulaError,
    InvalidRequest,
    NotFound,
    RateLimited,
    TooLarge,
    Unauthenticated,
    UnavailableError,
    UpstreamError,
)

_OF_REQUESTS = (None, "rpm", "in_flight", "queued_runs")
_INVALID = "invalid_request_error"
_PUBLIC = ("level", "limit", "kind", "used", "reset_at", "rule", "upstream_status")


def render(error: InsulaError, request_id: str) -> tuple[int, bytes, bytes]:
    """Return ``(status, header lines, body)`` for ``error``."""
    status, kind, code = classify(error)
    return status, headers(error, status), body(error, kind, code, request_id)


def classify(error: InsulaError) -> tuple[int, str, str]:
    """Return ``(status, error.type, error.code)``."""
    if isinstance(error, RateLimited):
        return 429, *_limited(error)
    if isinstance(error, BudgetExhausted):
        return 429, "insufficient_quota", "budget_exceeded"
    if isinstance(error, ExceedsLimit):
        return 400, _INVALID, "request_exceeds_limit"
    if isinstance(error, Unauthenticated):
        return 401, _INVALID, "invalid_api_key"
    if isinstance(error, TooLarge):
        return 413, _INVALID, "request_too_large"
    if isinstance(error, InvalidRequest):
        return 400, _INVALID, str(error.details.get("code") or "invalid_request")
    if isinstance(error, UpstreamError):
        status = int(error.details.get("status", error.status))
        return status, "upstream_error", "provider_limited" if status == 429 else error.code
    if isinstance(error, UnavailableError):
        own = isinstance(error, Draining | EnforcementUnavailable)
        return 503, "server_error", error.code if own else "overloaded"
    return _by_class(error)


def _by_class(error: InsulaError) -> tuple[int, str, str]:
    if isinstance(error, NotFound):
        return 404, _INVALID, str(error.details.get("code") or "not_found")
    if isinstance(error, Denied):
        return 403, _INVALID, str(error.details.get("rule") or "denied")
    if isinstance(error, AccessError | CallerError) or error.status < 500:
        return error.status, _INVALID, error.code
    return error.status, "server_error", error.code


def _limited(error: InsulaError) -> tuple[str, str]:
    limit, kind = error.details.get("limit"), error.details.get("kind")
    if limit in _OF_REQUESTS:
        return "requests", "rate_limit_exceeded"
    if kind == "full_of_reservations":
        return "rate_limit_exceeded", "budget_in_flight"
    return "tokens", "rate_limit_exceeded"


def headers(error: InsulaError, status: int) -> bytes:
    """Return the header lines that steer a retry."""
    lines = ""
    wait = error.retry_after_s
    if wait is not None:
        lines += f"retry-after-ms: {math.ceil(wait * 1000)}\r\nretry-after: {math.ceil(wait)}\r\n"
    if "level" in error.details and "limit" in error.details:
        lines += "x-insula-level: {level}\r\nx-insula-limit: {limit}\r\n".format_map(error.details)
    if "upstream_status" in error.details:
        lines += f"x-upstream-status: {error.details['upstream_status']}\r\n"
    retry = (status in {408, 429} or status >= 502) and not isinstance(error, BudgetExhausted)
    return f"{lines}x-should-retry: {'true' if retry else 'false'}\r\n".encode("ascii")


def body(error: InsulaError, kind: str, code: str, request_id: str) -> bytes:
    """Return the JSON body: what the SDK reads, and beside it what a program can act on."""
    shown: dict[str, Any] = {
        "message": f"{error.message} ({error.hint})" if error.hint else error.message,
        "type": kind,
        "param": error.field,
        "code": code,
        "request_id": request_id,
    }
    details = error.details
    shown.update({name: details[name] for name in _PUBLIC if name in details})
    if "level" in details:
        shown["scope"] = details["level"]
    if error.retry_after_s is not None:
        shown["retry_after_s"] = round(error.retry_after_s, 3)
    return json.dumps({"error": shown}, separators=(",", ":")).encode("ascii")
