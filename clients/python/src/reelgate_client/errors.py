"""Every way in which a call can fail, as an exception of its own.

Decide by the class or by `code`, which is stable; sentences may change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reelgate_client.types import Result, Violation


class ReelgateError(Exception):
    """A call that failed: a refusal, a network that failed, or a request that ended without an output.

    Attributes:
        code: what happened, such as `invalid_input`. Those of refusals are the gateway's.
        status: the HTTP status; None where there was no answer.
        errors: each violation, with a JSON pointer to it.
        remedy: what can be done about it.
        retryable: whether the same call can be made again without harm, and may succeed.
        retry_after_s: after how many seconds.
        request_id: the request that the call made or was about, where there is one.
        trace_id: quote it to the operator of the gateway.
        problem: the whole document, where the answer was one.

    """

    code = "error"

    def __init__(self, document: Mapping[str, Any], *, status: int | None = None) -> None:
        title = str(document.get("title") or "")
        self.title = title
        self.detail = str(document.get("detail") or title)
        self.code = str(document.get("code") or self.code)
        self.status = status
        self.errors: list[Violation] = list(document.get("errors") or [])
        self.remedy = str(document.get("remedy") or "")
        self.retryable = document.get("retryable") is True
        self.retry_after_s: float | None = document.get("retry_after_s")
        self.request_id: str | None = document.get("request_id")
        self.trace_id: str | None = document.get("trace_id")
        self.problem: dict[str, Any] = dict(document)
        violations = [f"{one.get('pointer', '')} {one.get('detail', '')}" for one in self.errors]
        super().__init__(" ".join([self.detail or self.code, *violations, self.remedy]).strip())

    def __reduce__(self) -> tuple[Any, ...]:
        """Lets errors go to other processes."""
        return _rebuilt, (type(self), self.problem, self.status, self.__dict__)


def _rebuilt(
    kind: type[ReelgateError], document: dict[str, Any], status: int | None, state: dict[str, Any]
) -> ReelgateError:
    made = kind.__new__(kind)
    ReelgateError.__init__(made, document, status=status)
    made.__dict__.update(state)
    return made


class Refused(ReelgateError):
    """The server refused the call."""


class BadRequest(Refused):
    """The call itself is wrong (400, 405, 413, 414, 415, 416, 431)."""


class AuthenticationFailed(Refused):
    """The API key or client token is missing, wrong or has ended (401)."""


class PermissionDenied(Refused):
    """The API key or client token is not allowed to do this (403)."""


class NotFound(Refused):
    """There is no such thing for this caller (404), or not any more (410)."""


class Conflict(Refused):
    """The state of the thing does not allow it now (409, 412, 428)."""


class InvalidInput(Refused):
    """The input is wrong: `errors` names each violation (422). Nothing was sent and nothing was charged."""


class LimitReached(Refused):
    """A limit, a budget or a queue does not allow it (429)."""


class Unavailable(Refused):
    """The gateway, its database or RunComfy cannot serve it now (500, 502, 503, 504)."""


class OutcomeUnknown(ReelgateError):
    """The answer to a submit is lost, and a paid job may exist. Do not submit it again without looking.

    Follow `request_id` where the gateway told one. Else a gateway answers the same submit with
    `idempotency_key` with what became of this one. RunComfy itself knows neither: look there.

    Attributes:
        idempotency_key: the key of this submit; None where it is of no use.

    """

    code = "outcome_unknown"
    idempotency_key: str | None = None


class Unreachable(ReelgateError):
    """The server could not be reached, or the connection broke off.

    Attributes:
        maybe_sent: whether the server may have received the call.

    """

    code = "unreachable"
    maybe_sent = True


class NoGateway(ReelgateError):
    """What answered at the base URL is no Reelgate gateway, or cannot do what was asked of it."""

    code = "no_gateway"


class WaitTimeout(ReelgateError, TimeoutError):
    """The request had not ended when the time for waiting was over. It goes on: follow `request_id`."""

    code = "wait_timeout"


class RequestFailed(ReelgateError):
    """The request ended without an output; `result` is its result, with RunComfy's `error`."""

    code = "job_failed"

    def __init__(self, result: Result, *, state: str = "") -> None:
        reason = result.get("error")
        request_id = result["request_id"]
        detail = f"The request {request_id} ended without an output ({state or result['status']})."
        document = {"detail": detail + (f" RunComfy: {reason}" if reason else ""), "request_id": request_id}
        super().__init__(document)
        self.result = result


class RequestCancelled(RequestFailed):
    """The request was cancelled, or expired before it started."""

    code = "job_cancelled"


class DownloadFailed(ReelgateError):
    """A file could not be downloaded whole, or is not the one that was announced."""

    code = "download_failed"


class PictureRefused(ReelgateError, ValueError):
    """A local picture cannot be sent: `detail` says why."""

    code = "picture_refused"


class InvalidWebhook(ReelgateError, ValueError):
    """A webhook was not signed by the secret, or not now."""

    code = "invalid_webhook"


_BY_STATUS: dict[int, type[Refused]] = {
    400: BadRequest,
    401: AuthenticationFailed,
    403: PermissionDenied,
    404: NotFound,
    405: BadRequest,
    408: Unavailable,
    409: Conflict,
    410: NotFound,
    412: Conflict,
    413: BadRequest,
    414: BadRequest,
    415: BadRequest,
    416: BadRequest,
    422: InvalidInput,
    428: Conflict,
    429: LimitReached,
    431: BadRequest,
    500: Unavailable,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
}
_RUNCOMFY: dict[int, type[Refused]] = {
    400002: LimitReached,
    400004: AuthenticationFailed,
    403001: PermissionDenied,
    404001: NotFound,
}
"""RunComfy's own numbers that say more than its HTTP statuses."""


def refusal(status: int, document: Mapping[str, Any]) -> ReelgateError:
    """Returns the exception for a problem document of the gateway."""
    if document.get("code") == OutcomeUnknown.code:
        return OutcomeUnknown(document, status=status)
    return _BY_STATUS.get(status, Refused)(document, status=status)


def runcomfy_refusal(status: int, document: Mapping[str, Any]) -> ReelgateError:
    """Returns the exception for a refusal in one of the forms that RunComfy itself answers."""
    number = document.get("error_code")
    said = document.get("error_message") or document.get("message") or document.get("detail")
    kind = _RUNCOMFY.get(number, Refused) if isinstance(number, int) else Refused
    if kind is Refused:
        kind = _BY_STATUS.get(status, Refused)
    code = f"runcomfy_{number or status}"
    return kind(
        {**document, "code": code, "detail": str(said or f"HTTP {status}"), "errors": []}, status=status
    )
