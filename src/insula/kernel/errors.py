"""Every error a caller may see, sorted by who must act.

::

    InsulaError(code, status, exit_code; message, hint, field, retry_after_s, details)
    ├─ CallerError          fix the request
    │   ├─ InvalidRequest          422  a field is malformed; names field, problem and fix
    │   └─ TooLarge                413  a body, bundle or request exceeds a stated bound
    ├─ AccessError          get a right
    │   ├─ Unauthenticated         401  no, unknown or broken credential
    │   ├─ Denied                  403  known caller, missing right; carries the rule
    │   └─ NotFound                404  absent, or owned by a stranger: the two look alike
    ├─ ConflictError        look again
    │   └─ AlreadyExists           409  the name is taken, now or for good
    ├─ LimitError           wait or pay
    │   ├─ RateLimited             429  names level, limit and an honest wait
    │   ├─ BudgetExhausted         429  used up until the window ends: retrying before that is useless
    │   └─ ExceedsLimit            400  one request larger than the whole limit: waiting cannot help
    ├─ UpstreamError        not us
    │   ├─ ModelFailed             502  the model's server answered with an error, or not at all
    │   └─ ModelTimedOut           504  the model's server took too long
    ├─ UnavailableError     try later
    │   ├─ Draining                503  the platform is shutting down
    │   ├─ EnforcementUnavailable  503  the store of the limits is away, and this kind fails closed
    │   └─ Overloaded              503  a bound of the platform itself is reached
    └─ OperatorError        the operator's configuration
        ├─ Misconfigured           500  start-up refuses
        ├─ IsolationUnavailable    503  the host cannot give the tier's floor; says what to install
        └─ PlatformNotRunning      503  the command needs a running platform

    IsolationBreach(BaseException)        never swallowed by a broad ``except``: revoke, quarantine, audit
"""

from __future__ import annotations

from typing import Any, ClassVar


class InsulaError(Exception):
    """Base of every expected failure.

    ``message`` says what is wrong, ``hint`` what to do about it, ``field`` which input carries the
    problem, ``retry_after_s`` how long waiting helps (``None`` when it does not). ``details`` are
    machine-readable extras that are safe to show to the caller: never a secret, never another tenant.
    """

    code: ClassVar[str] = "internal_error"
    status: ClassVar[int] = 500
    exit_code: ClassVar[int] = 1

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        field: str | None = None,
        retry_after_s: float | None = None,
        **details: Any,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.field = field
        self.retry_after_s = retry_after_s
        self.details = details


class CallerError(InsulaError):
    """The request must change."""

    code = "invalid_request"
    status = 400
    exit_code = 2


class InvalidRequest(CallerError):
    code = "invalid_request"
    status = 422


class TooLarge(CallerError):
    code = "too_large"
    status = 413


class AccessError(InsulaError):
    """A right is missing."""

    code = "denied"
    status = 403
    exit_code = 4


class Unauthenticated(AccessError):
    code = "unauthenticated"
    status = 401


class Denied(AccessError):
    code = "denied"
    status = 403


class NotFound(AccessError):
    code = "not_found"
    status = 404
    exit_code = 1


class ConflictError(InsulaError):
    """The world is not as the caller thought."""

    code = "conflict"
    status = 409


class AlreadyExists(ConflictError):
    code = "already_exists"


class LimitError(InsulaError):
    """Wait or pay."""

    code = "limited"
    status = 429


class RateLimited(LimitError):
    code = "rate_limited"


class BudgetExhausted(LimitError):
    """A calendar budget is used up. Time alone cures it, but not soon: callers are told not to retry."""

    code = "budget_exceeded"
    status = 429


class ExceedsLimit(LimitError):
    code = "request_exceeds_limit"
    status = 400


class UpstreamError(InsulaError):
    """Something we call failed."""

    code = "upstream_error"
    status = 502


class ModelFailed(UpstreamError):
    code = "model_failed"


class ModelTimedOut(UpstreamError):
    code = "model_timed_out"
    status = 504


class UnavailableError(InsulaError):
    """Try later."""

    code = "unavailable"
    status = 503


class Draining(UnavailableError):
    code = "draining"


class EnforcementUnavailable(UnavailableError):
    """Limits cannot be decided now, and what they guard is not spent unguarded."""

    code = "enforcement_unavailable"


class Overloaded(UnavailableError):
    code = "overloaded"


class OperatorError(InsulaError):
    """The operator's configuration must change."""

    code = "misconfigured"
    status = 500


class Misconfigured(OperatorError):
    code = "misconfigured"


class IsolationUnavailable(OperatorError):
    code = "isolation_unavailable"
    status = 503


class PlatformNotRunning(OperatorError):
    code = "platform_not_running"
    status = 503


class IsolationBreach(BaseException):
    """A wall did not hold. Derives from ``BaseException`` so that no broad ``except`` can swallow it."""
