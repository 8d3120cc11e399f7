"""Problem documents (RFC 9457) for every error, including those that the framework raises."""

import asyncio
from contextlib import suppress
from dataclasses import replace
from http import HTTPStatus
from typing import Final

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from app.api.addresses import Addresses
from app.api.query import unknown_too
from app.auth.client_tokens import Refusal
from app.auth.principal import Principal, TokenProblem
from app.documents import problems as documents
from app.documents.amounts.limits import rate_headers
from app.errors import (
    CATALOGUE,
    DATABASE_UNAVAILABLE,
    EXPIRED_CLIENT_TOKEN,
    HTTP_ERROR,
    INTERNAL_ERROR,
    INVALID_ADMIN_KEY,
    INVALID_API_KEY,
    INVALID_CLIENT_TOKEN,
    METHOD_NOT_ALLOWED,
    ROUTE_NOT_FOUND,
    SESSION_ENDED,
    Fault,
    FieldError,
    Problem,
)
from app.gateway import Gateway
from app.kit.json import dumps
from app.kit.log import Aside, trace_id_var
from app.kit.text import printable
from app.quotas.problem import QuotaProblem

PROBLEM_JSON = "application/problem+json"
CODE: Final = "code"
"""The name, in a request's state, of the code of the error with which it was answered."""
PRESENTED_KID: Final = "presented_kid"
"""The same, of the kid of a key or token that was refused: whoever presented it need not have it."""
ADMIN_KID: Final = "admin_kid"
"""The same, of the kid of the admin key that called."""
SESSION: Final = "session"
"""The same, of the id of the session that called, of the console or the portal."""
KNOWN_KEY: Final = "known_key"
"""The same, of a key that has ended, where its secret was right."""
_MAX_DETAIL: Final = 500
_MAX_CALL: Final = 300
_MAX_NAMED: Final = 5  # violations of an input that a recorded refusal names
_MAX_S: Final = 0.5
# RFC 6750's word for them
_BAD_TOKENS: Final = (
    INVALID_API_KEY,
    INVALID_CLIENT_TOKEN,
    EXPIRED_CLIENT_TOKEN,
    INVALID_ADMIN_KEY,
    SESSION_ENDED,
)


def response(
    problem: Problem, *, base_url: str, instance: str, principal: Principal | None = None
) -> Response:
    """The answer to a caller; `principal` is None where none is known."""
    headers = dict(problem.headers)
    if problem.retry_after_s is not None:
        headers["Retry-After"] = str(problem.retry_after_s)
    if problem.fault.status == HTTPStatus.UNAUTHORIZED:  # RFC 9110 demands a challenge with a 401
        error = ' error="invalid_token"' if problem.fault in _BAD_TOKENS else ""
        headers["WWW-Authenticate"] = f'Bearer realm="reelgate"{"," + error if error else ""}'
    return Response(
        dumps(documents.problem(problem, principal, base_url=base_url, instance=instance)),
        status_code=problem.fault.status,
        headers=headers,
        media_type=PROBLEM_JSON,
    )


async def answer_problem(request: Request, problem: Exception) -> Response:
    """Handles our own problems."""
    if not isinstance(problem, Problem):  # Starlette's signature is wider than its use
        raise problem
    request.scope.setdefault("state", {})[CODE] = problem.fault.code
    principal = _principal_of(request)
    if isinstance(problem, QuotaProblem):
        problem.headers |= rate_headers(principal, problem.standings)
    with Aside("recording the refusal of a client token"):
        await _note(request, problem)
    return response(problem, base_url=_base_url(request), instance=request.url.path, principal=principal)


async def _note(request: Request, problem: Problem) -> None:
    """Records the refusal of a client token; the response waits for that for at most `_MAX_S` seconds."""
    token_id = _token_of(request, problem)
    if token_id is None or problem.fault is DATABASE_UNAVAILABLE:
        return
    gateway: Gateway = request.app.state.gateway
    told = documents.detail(problem, _principal_of(request))
    where = ", ".join(f"{one.pointer} {one.code}" for one in problem.errors[:_MAX_NAMED])
    refusal = Refusal(
        at_ms=gateway.clock.now_ms(),
        code=problem.fault.code,
        detail=printable(told + (f" ({where})" if where else ""))[:_MAX_DETAIL],
        call=printable(f"{request.method} {request.url.path}")[:_MAX_CALL],
        origin=printable(request.headers.get("origin") or "")[:_MAX_CALL] or None,
        trace_id=trace_id_var.get(),
    )
    task = gateway.tasks.start(gateway.access.rejection_log.note(token_id, refusal), name="note-refusal")
    with suppress(TimeoutError):
        async with asyncio.timeout(_MAX_S):
            await asyncio.shield(task)


def _token_of(request: Request, problem: Problem) -> str | None:
    """Returns the id of the client token whose call is refused, or None."""
    if isinstance(problem, TokenProblem):
        return problem.token_id
    principal = _principal_of(request)
    return principal.token.token_id if principal is not None and principal.token is not None else None


def _principal_of(request: Request) -> Principal | None:
    """Who called, where that is known (`deps` stores it)."""
    principal: Principal | None = request.scope.get("state", {}).get("principal")
    return principal


async def answer_http_exception(request: Request, error: Exception) -> Response:
    """Handles the framework's errors: 404, 405 and whatever else it raises."""
    if not isinstance(error, HTTPException):
        raise error
    return await answer_problem(request, _of_http_exception(request, error))


async def answer_validation_error(request: Request, error: Exception) -> Response:
    """Handles parameters that do not fit their declared type."""
    if not isinstance(error, RequestValidationError):
        raise error
    errors = [  # a parameter that was repeated is one place, whichever of its values is wrong
        FieldError("#/" + "/".join(str(part) for part in one["loc"][:2]), str(one["type"]), str(one["msg"]))
        for one in error.errors()
    ]
    return await answer_problem(request, unknown_too(request, errors))


async def answer_exception(request: Request, _error: Exception) -> Response:
    """Handles every other exception. Starlette raises it again afterwards, and the edge logs it."""
    request.scope.setdefault("state", {})[CODE] = INTERNAL_ERROR.code
    return internal_error(_base_url(request), request.url.path)


def internal_error(base_url: str, instance: str) -> Response:
    """Returns the response to an unexpected error, whose cause is in the log alone, under the trace id."""
    problem = Problem(INTERNAL_ERROR, "The gateway could not process this request; its log has the cause.")
    return response(problem, base_url=base_url, instance=instance)


def _of_http_exception(request: Request, error: HTTPException) -> Problem:
    if error.status_code == HTTPStatus.NOT_FOUND:
        return Problem(ROUTE_NOT_FOUND, f"There is no {request.url.path[:200]!r} here.")
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = Addresses(request.app.router.routes).methods(request.scope)
        return Problem(
            METHOD_NOT_ALLOWED,
            f"This address supports {allowed or 'no method'}, not {request.method}.",
            headers={"Allow": allowed},
        )
    fault = replace(HTTP_ERROR, status=error.status_code)
    return Problem(fault, str(error.detail), headers=dict(error.headers or {}))


def _base_url(request: Request) -> str:
    base_url: str = request.app.state.base_url
    return base_url


def fault_of_slug(slug: str) -> Fault | None:
    """Returns the fault of the error catalogue that a problem type's slug names, or None."""
    return next((fault for fault in CATALOGUE if fault.slug == slug), None)
