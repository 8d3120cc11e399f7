"""Health of the service (alive, ready), and the documentation of its errors."""

from fastapi import Request
from starlette.responses import Response

from app.api.bodies import json_response
from app.api.deps import Open
from app.api.problems import fault_of_slug
from app.documents.problems import problem_kind, problem_kinds
from app.documents.service import health
from app.errors import ROUTE_NOT_FOUND, SHUTTING_DOWN, Problem


async def livez() -> Response:
    """200 while the process runs its event loop."""
    return json_response(health("ok"))


async def readyz(request: Request, gateway: Open) -> Response:
    """200 when requests can be served: the database takes a write and the server is not shutting down."""
    if getattr(request.app.state, "draining", False):
        raise Problem(SHUTTING_DOWN, "This server is shutting down.", retry_after_s=1)
    await gateway.db.check_writes()
    return json_response(health("ready"))


async def list_problems(gateway: Open) -> Response:
    """The whole catalogue of errors."""
    return json_response(problem_kinds(gateway.base_url))


async def get_problem(gateway: Open, slug: str) -> Response:
    """One entry of the catalogue of errors."""
    fault = fault_of_slug(slug)
    if fault is None:
        raise Problem(ROUTE_NOT_FOUND, f"There is no problem type {slug[:100]!r}.")
    return json_response(problem_kind(fault, gateway.base_url))
