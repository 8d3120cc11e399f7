"""Problem documents (RFC 9457) for every error, including those that the framework raises."""

import asyncio
from contextlib import suppress
from http import HTTPStatus
from typing import Any, Final

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match

from app.api.headers.rate_limit import rate_headers
from app.auth.client_tokens import Refusal
from app.auth.principal import Principal, TokenProblem
from app.errors import (
    CATALOGUE,
    DATABASE_UNAVAILABLE,
    EXPIRED_CLIENT_TOKEN,
    GATEWAY_QUEUE_FULL,
    HTTP_ERROR,
    INTERNAL_ERROR,
    INVALID_API_KEY,
    INVALID_CLIENT_TOKEN,
    INVALID_PARAMETER,
    METHOD_NOT_ALLOWED,
    QUEUE_FULL,
    ROUTE_NOT_FOUND,
    Fault,
    FieldError,
    Problem,
)
from app.gateway import Gateway
from app.kit.json import dumps
from app.kit.log import trace_id_var
from app.quotas.refusal import QuotaProblem

PROBLEM_JSON = "application/problem+json"
_MAX_DETAIL: Final = 500
_MAX_CALL: Final = 300
_MAX_NAMED: Final = 5  # violations of an input that a recorded refusal names
_MAX_S: Final = 0.5
_OF_THE_APPLICATION: Final = dict.fromkeys(
    (QUEUE_FULL, GATEWAY_QUEUE_FULL), "Too many requests wait to be sent already."
)
# RFC 6750 calls all of these `invalid_token`.
_BAD_TOKENS: Final = (INVALID_API_KEY, INVALID_CLIENT_TOKEN, EXPIRED_CLIENT_TOKEN)


def problem_type(base_url: str, fault: Fault) -> str:
    """Returns the fault's registered type, or its stable address here, where `GET` explains it."""
    return fault.registered or f"{base_url}/problems/{fault.slug}"


def document(problem: Problem, *, base_url: str, instance: str) -> dict[str, Any]:
    """Returns the problem document: the error catalogue's entry, this occurrence, and what to do."""
    fault = problem.fault
    return {
        "type": problem_type(base_url, fault),
        "title": fault.title,
        "status": fault.status,
        "detail": problem.detail,
        "instance": instance,
        "code": fault.code,
        "trace_id": trace_id_var.get(),
        "retryable": fault.retryable,
        "remedy": fault.remedy,
        **({"retry_after_s": problem.retry_after_s} if problem.retry_after_s is not None else {}),
        **(
            {
                "errors": [
                    {"pointer": one.pointer, "code": one.code, "detail": one.detail} for one in problem.errors
                ]
            }
            if problem.errors
            else {}
        ),
        **problem.extra,
    }


def response(problem: Problem, *, base_url: str, instance: str) -> Response:
    """Returns the response for a problem, with the headers that HTTP demands for its status."""
    headers = dict(problem.headers)
    if problem.retry_after_s is not None:
        headers["Retry-After"] = str(problem.retry_after_s)
    if problem.fault.status == HTTPStatus.UNAUTHORIZED:  # RFC 9110 demands a challenge with a 401
        error = ' error="invalid_token"' if problem.fault in _BAD_TOKENS else ""
        headers["WWW-Authenticate"] = f'Bearer realm="reelgate"{"," + error if error else ""}'
    return Response(
        dumps(document(problem, base_url=base_url, instance=instance)),
        status_code=problem.fault.status,
        headers=headers,
        media_type=PROBLEM_JSON,
    )


async def answer_problem(request: Request, problem: Exception) -> Response:
    """Handles our own problems."""
    if not isinstance(problem, Problem):  # Starlette's signature is wider than its use
        raise problem
    if isinstance(problem, QuotaProblem):
        problem.headers |= rate_headers(problem.shown)
    if problem.fault in _OF_THE_APPLICATION and _token_of(request, problem) is not None:
        problem.detail = _OF_THE_APPLICATION[problem.fault]  # a page must not learn how much others use
    await _note(request, problem)
    return response(problem, base_url=_base_url(request), instance=request.url.path)


async def _note(request: Request, problem: Problem) -> None:
    """Records the refusal of a client token; the response waits for that for at most `_MAX_S` seconds."""
    token_id = _token_of(request, problem)
    if token_id is None or problem.fault is DATABASE_UNAVAILABLE:
        return
    gateway: Gateway = request.app.state.gateway
    where = ", ".join(f"{one.pointer} {one.code}" for one in problem.errors[:_MAX_NAMED])
    refusal = Refusal(
        gateway.clock.now_ms(),
        problem.fault.code,
        _printable(problem.detail + (f" ({where})" if where else ""))[:_MAX_DETAIL],
        _printable(f"{request.method} {request.url.path}")[:_MAX_CALL],
        _printable(request.headers.get("origin") or "")[:_MAX_CALL] or None,
        trace_id_var.get(),
    )
    task = gateway.tasks.start(gateway.access.rejection_log.note(token_id, refusal), name="note-refusal")
    with suppress(TimeoutError):
        async with asyncio.timeout(_MAX_S):
            await asyncio.shield(task)


def _token_of(request: Request, problem: Problem) -> str | None:
    """Returns the id of the client token whose call is refused, or None."""
    if isinstance(problem, TokenProblem):
        return problem.token_id
    principal: Principal | None = request.scope.get("state", {}).get("principal")
    return principal.token.token_id if principal is not None and principal.token is not None else None


def _printable(text: str) -> str:
    """Returns the text with unprintable characters escaped, which databases or terminals may not tolerate."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


async def answer_http_exception(request: Request, error: Exception) -> Response:
    """Handles the framework's errors: 404, 405 and whatever else it raises."""
    if not isinstance(error, HTTPException):
        raise error
    return await answer_problem(request, _of_http_exception(request, error))


async def answer_validation_error(request: Request, error: Exception) -> Response:
    """Handles parameters that do not fit their declared type."""
    if not isinstance(error, RequestValidationError):
        raise error
    errors = [
        FieldError("#/" + "/".join(str(part) for part in one["loc"]), str(one["type"]), str(one["msg"]))
        for one in error.errors()
    ]
    problem = Problem(INVALID_PARAMETER, "A parameter is not acceptable; see `errors`.", errors=errors)
    return await answer_problem(request, problem)


async def answer_exception(request: Request, _error: Exception) -> Response:
    """Handles every other exception. Starlette raises it again afterwards, and the edge logs it."""
    return internal_error(_base_url(request), request.url.path)


def internal_error(base_url: str, instance: str) -> Response:
    """Returns the response to an unexpected error, whose cause is in the log alone, under the trace id."""
    problem = Problem(INTERNAL_ERROR, "The gateway could not finish this; the operator's log has the cause.")
    return response(problem, base_url=base_url, instance=instance)


def _of_http_exception(request: Request, error: HTTPException) -> Problem:
    if error.status_code == HTTPStatus.NOT_FOUND:
        return Problem(ROUTE_NOT_FOUND, f"There is no {request.url.path[:200]!r} here.")
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = _allowed_methods(request)
        return Problem(
            METHOD_NOT_ALLOWED,
            f"{request.method} is not taken here; {allowed or 'nothing'} is.",
            headers={"Allow": allowed},
        )
    fault = Fault(
        HTTP_ERROR.code, error.status_code, HTTP_ERROR.title, HTTP_ERROR.retryable, HTTP_ERROR.remedy
    )
    return Problem(fault, str(error.detail), headers=dict(error.headers or {}))


def _allowed_methods(request: Request) -> str:
    """Returns the methods of all routes at this address: the framework names only those of the first."""
    methods = {
        method
        for route in request.app.router.routes
        if route.matches(request.scope)[0] is not Match.NONE
        for method in getattr(route, "methods", None) or ()
    }
    return ", ".join(sorted(methods))


def _base_url(request: Request) -> str:
    base_url: str = request.app.state.base_url
    return base_url


def fault_of_slug(slug: str) -> Fault | None:
    """Returns the fault of the error catalogue that a problem type's slug names, or None."""
    return next((fault for fault in CATALOGUE if fault.slug == slug), None)
