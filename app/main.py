"""The gateway as an ASGI application."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app.api.admin.routes import add_admin_routes
from app.api.bodies import json_response
from app.api.internal.metrics import get_metrics
from app.api.internal.oidc import add_oidc
from app.api.internal.playground import create_playground_token, list_playground_samples
from app.api.internal.sign_ins import add_console_session, add_portal_session
from app.api.problems import (
    answer_exception,
    answer_http_exception,
    answer_problem,
    answer_validation_error,
)
from app.api.query import strict
from app.api.routes import PROBES, add_routes
from app.catalog.catalog import Catalog
from app.config import Settings
from app.console.pages import add_pages
from app.console.sites import add_console, add_portal
from app.db.processes import Role
from app.errors import Problem
from app.gateway import open_gateway
from app.kit.clock import Clock
from app.server.edge import Edge
from app.worker import running


def create_app(settings: Settings, *, clock: Clock | None = None, probes_only: bool = False) -> FastAPI:
    """Returns the application. Its lifespan opens the gateway and runs the background loops.

    With `probes_only`, it is a worker's: it answers probes and `/metrics`, and no other call.
    `create_server_app` wraps it for serving.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        role: Role = "worker" if probes_only else "server"
        async with open_gateway(settings, clock=clock, serving=True, role=role) as gateway:
            app.state.gateway = gateway
            async with running(gateway) as loops:
                app.state.loops = loops
                yield
            # uvicorn has waited for connections; the rest of the drain time is for tasks that have none.
            spent_s = time.monotonic() - getattr(app.state, "stopping_since", time.monotonic())
            await gateway.tasks.drain(max(0.0, settings.drain_s - spent_s))

    app = _bare_app(lifespan=lifespan)
    app.state.base_url = settings.base_url
    # For the operator, and therefore not in the contract.
    app.add_api_route("/metrics", strict(get_metrics), include_in_schema=False)
    if probes_only:
        add_routes(app, PROBES)
        return app
    add_routes(app)
    if settings.admin_api and settings.admin_port is None:
        add_admin_routes(app)
        if settings.console:
            add_console_session(app)
            _add_oidc(app, settings)
            add_console(app, settings)
    if settings.portal:
        add_portal_session(app)
        add_portal(app, settings)
    app.router.routes.append(Route("/openapi.json", strict(_answer_openapi), methods=["GET"]))
    if settings.playground_kid is not None:
        app.add_api_route(
            "/playground/token", strict(create_playground_token), methods=["POST"], include_in_schema=False
        )
        app.add_api_route("/playground/samples", strict(list_playground_samples), include_in_schema=False)
    add_pages(app, settings)
    return app


def _bare_app(**more: Any) -> FastAPI:
    """Returns an application without routes, which answers every error with a problem document."""
    app = FastAPI(
        title="Reelgate",
        version=version("reelgate"),
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # several of RunComfy's clients treat any redirect as an error
        telemetry={"tracing": False, "metrics": False, "logs": False},  # it would log exceptions' messages
        **more,
    )
    app.add_exception_handler(Problem, answer_problem)
    app.add_exception_handler(HTTPException, answer_http_exception)
    app.add_exception_handler(RequestValidationError, answer_validation_error)
    app.add_exception_handler(Exception, answer_exception)
    return app


def create_admin_app(app: FastAPI, settings: Settings) -> Edge:
    """Returns the admin API for a port of its own, beside an application whose gateway it shares."""
    beside = _bare_app()
    beside.state = app.state
    add_admin_routes(beside)
    if settings.console:
        add_console_session(beside)
        _add_oidc(beside, settings)
        add_console(beside, settings, is_home=True)
    add_routes(beside, PROBES)
    return Edge(beside, app.state.base_url)


def _add_oidc(app: FastAPI, settings: Settings) -> None:
    if settings.oidc_issuer is not None:
        add_oidc(app)


def create_server_app(
    settings: Settings, *, clock: Clock | None = None, probes_only: bool = False
) -> tuple[FastAPI, Edge]:
    """Returns the application, and the same wrapped in the edge that tags, logs and guards every answer."""
    app = create_app(settings, clock=clock, probes_only=probes_only)
    return app, Edge(app, settings.base_url)


def contract(settings: Settings, catalog: Catalog) -> dict[str, Any]:
    """Returns the OpenAPI document for a catalogue, without opening a gateway."""
    from app.api import openapi  # noqa: PLC0415 - only who asks for a contract waits for what makes it

    return openapi.build(create_app(settings), catalog)


def admin_contract(settings: Settings) -> dict[str, Any]:
    """Returns the OpenAPI document of the admin API."""
    from app.api.admin.openapi import build as build_admin  # noqa: PLC0415 - as above

    return build_admin(version("reelgate"), settings.base_url)


async def _answer_openapi(request: Request) -> Response:
    app = request.app
    if not hasattr(app.state, "contract"):
        from app.api import openapi  # noqa: PLC0415 - as above

        app.state.contract = openapi.build(app, app.state.gateway.catalog)
    return json_response(app.state.contract)
