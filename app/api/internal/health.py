"""Health of the service (alive, ready), and the documentation of its errors."""

from fastapi import Request
from sqlalchemy import Connection, text
from starlette.responses import Response

from app.api import schemas
from app.api.deps import Open
from app.api.problems import fault_of_slug, problem_type
from app.api.responses import json_response
from app.errors import CATALOGUE, ROUTE_NOT_FOUND, SHUTTING_DOWN, Problem


async def livez() -> Response:
    """200 while the process runs its event loop."""
    return json_response({"status": "ok"})


async def readyz(request: Request, gateway: Open) -> Response:
    """200 when requests can be served: the database takes writes and the server is not stopping."""
    if getattr(request.app.state, "draining", False):
        raise Problem(SHUTTING_DOWN, "This server is stopping.", retry_after_s=1)
    await gateway.db.write(_ask)
    return json_response({"status": "ready"})


async def list_problems(gateway: Open) -> Response:
    """The whole catalogue of errors."""
    base_url = gateway.settings.base_url
    return json_response(
        {"problems": [schemas.problem_kind(fault, problem_type(base_url, fault)) for fault in CATALOGUE]}
    )


async def get_problem(gateway: Open, slug: str) -> Response:
    """What a problem's `type` stands for."""
    fault = fault_of_slug(slug)
    if fault is None:
        raise Problem(ROUTE_NOT_FOUND, f"There is no problem type {slug[:100]!r}.")
    return json_response(schemas.problem_kind(fault, problem_type(gateway.settings.base_url, fault)))


def _ask(connection: Connection) -> None:
    connection.execute(text("SELECT 1"))
