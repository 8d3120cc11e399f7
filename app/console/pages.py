"""The API's reference page: Swagger UI from files of this installation, under a strict policy."""

from importlib.util import find_spec
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

_STATIC = Path(__file__).parent / "static"

# Swagger UI sets style attributes and draws its icons from data: URIs; scripts stay ours alone.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:;"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def _vendor_folder() -> Path:
    """Where the Swagger UI build lies that the `fastapi-offline` distribution carries."""
    spec = find_spec("fastapi_offline")
    if spec is None or spec.origin is None:
        raise RuntimeError("the package fastapi-offline is not installed")
    return Path(spec.origin).parent / "static"


async def _docs(_request: Request) -> Response:
    return FileResponse(_STATIC / "docs.html", headers={"Content-Security-Policy": _POLICY})


def add_pages(app: Starlette) -> None:
    """Mount the pages on the application."""
    app.router.routes.append(Route("/docs", _docs, methods=["GET"]))
    app.router.routes.append(Mount("/docs/files", StaticFiles(directory=_STATIC)))
    app.router.routes.append(Mount("/docs/vendor", StaticFiles(directory=_vendor_folder())))
