"""The calls that come by the thousand go to their handlers directly: submits, reads of a status or result.

FastAPI would compare the address with every route, solve the dependencies anew, and pass the request through
four layers: three quarters of what a read costs beside the database. The handlers and their dependencies are
the same functions here. A call with a query goes through FastAPI, which knows the parameters.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import compile_path
from starlette.types import Receive, Scope, Send

from app.api.deps import caller_of_read, caller_of_submit, gateway_of
from app.api.problems import answer_problem
from app.api.v1.models import submit
from app.api.v1.requests import get_result, get_status
from app.auth.principal import Principal
from app.errors import Problem


class Direct(NamedTuple):
    """A route as the table of routes has it: its method and path, its dependency and its handler."""

    method: str
    path: str
    caller: Callable[[Request], Awaitable[Principal]]
    handler: Callable[..., Awaitable[Response]]


SUBMIT: Final = Direct("POST", "/v1/models/{model_id:path}", caller_of_submit, submit)
"""The route of submits."""
_ALL: Final = (
    Direct("GET", "/v1/requests/{request_id}/status", caller_of_read, get_status),
    Direct("GET", "/v1/requests/{request_id}/result", caller_of_read, get_result),
    SUBMIT,
)
_PATTERNS: Final = tuple((compile_path(one.path)[0], one) for one in _ALL)


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a direct route, which answers as the application would."""

    app: FastAPI
    route: Direct
    parts: dict[str, str]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers the call, whatever becomes of it."""
        request = Request({**scope, "app": self.app, "path_params": self.parts}, receive)
        try:
            gateway, principal = await gateway_of(request), await self.route.caller(request)
            response = await self.route.handler(request, gateway, principal, **self.parts)
        except Problem as problem:
            response = await answer_problem(request, problem)
        await response(scope, receive, send)


def has_direct(app: FastAPI) -> bool:
    """Returns whether an application has these routes at all."""
    return {one.path for one in _ALL} <= {getattr(route, "path", "") for route in app.router.routes}


def direct(app: FastAPI, scope: Scope) -> Call | None:
    """Returns what answers a call that needs nothing of FastAPI; None for other calls."""
    if not scope["query_string"]:
        for pattern, one in _PATTERNS:
            if one.method == scope["method"] and (matched := pattern.match(scope["path"])):
                return Call(app, one, matched.groupdict())
    return None
