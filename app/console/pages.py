"""Serves the web pages, the guides and the client module, under strict content security policies.

No page names an address from the root, so that they also work where a proxy serves the gateway below a path.
"""

import hashlib
from collections.abc import Collection
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from app.config import Settings
from app.console.guides import ROOT, Guides, home, page
from app.console.search import MAX_QUERY, Index

_STATIC = Path(__file__).parent / "static"

# Swagger UI draws its icons from data: URIs; only our own scripts and styles apply.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_GUIDE_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'"
)
_SEARCH_POLICY = _GUIDE_POLICY.replace("form-action 'none'", "form-action 'self'")
# The playground shows and saves images and videos from any https host, and runs only its own scripts.
_PLAYGROUND_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob: https:{sandbox};"
    " media-src https:{sandbox}; connect-src 'self' https:{sandbox}; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
# No other page may reach into a window of ours, and no page of ours needs a device.
_DEVICES = ("camera", "display-capture", "geolocation", "microphone", "midi", "payment", "serial", "usb")
_PAGE_HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": ", ".join(f"{device}=()" for device in _DEVICES),
}
_MODULES = {"/client.js": "text/javascript; charset=utf-8", "/client.d.ts": "text/plain; charset=utf-8"}


def _vendor_folder() -> Path:
    """Returns the folder of the Swagger UI build that the `fastapi-offline` distribution contains."""
    spec = find_spec("fastapi_offline")
    if spec is None or spec.origin is None:
        raise RuntimeError("the package fastapi-offline is not installed")
    return Path(spec.origin).parent / "static"


def headers_of(policy: str) -> dict[str, str]:
    """Returns the headers of a page under a policy."""
    return {**_PAGE_HEADERS, "Content-Security-Policy": policy}


def _page(name: str, policy: str, *, file: str = "") -> Route:
    async def answer(_request: Request) -> Response:
        return FileResponse(_STATIC / f"{file or name}.html", headers=headers_of(policy))

    return Route(f"/{name}", answer, methods=["GET"])


def _home(guides: Guides, shown: Collection[str]) -> Route:
    """Returns the route of `/`: a page for whoever asks for HTML; for other clients there is nothing."""

    async def answer(request: Request) -> Response:
        if "text/html" not in request.headers.get("accept", ""):
            raise HTTPException(404)
        return HTMLResponse(
            home(guides, shown),
            headers={**headers_of(_GUIDE_POLICY), "Vary": "Accept"},
        )

    return Route("/", answer, methods=["GET"])


def _guides(guides: Guides) -> Route:
    pages: dict[str, str] = {}

    def answer(request: Request) -> Response:  # rendering takes a while: in a thread, once
        name = request.path_params["name"]
        if name not in guides.files:
            raise HTTPException(404)
        if name not in pages:
            pages[name] = guides.html(name)
        return HTMLResponse(pages[name], headers=headers_of(_GUIDE_POLICY))

    return Route("/guides/{name:path}", answer, methods=["GET"])


def _search(guides: Guides) -> Route:
    index = Index(guides)

    def answer(request: Request) -> Response:  # reads all guides, once: in a thread
        query = request.query_params.get("q", "")[:MAX_QUERY]
        return HTMLResponse(page("Guides", index.html(query), "../"), headers=headers_of(_SEARCH_POLICY))

    return Route("/docs/guides", answer, methods=["GET"])


def _picture(file: Path) -> Route:
    async def answer(_request: Request) -> Response:
        return FileResponse(file, headers={"Content-Security-Policy": _GUIDE_POLICY})

    return Route(f"/guides/{file.name}", answer, methods=["GET"])


def _module(path: str) -> Route:
    """Returns a route for a file that pages of every origin may import.

    Browsers revalidate it each time by its entity tag.
    """
    content = (_STATIC / path[1:]).read_bytes()
    headers = {
        "ETag": f'"{hashlib.sha256(content).hexdigest()[:32]}"',
        "Cache-Control": "public, no-cache",
    }

    async def answer(request: Request) -> Response:
        if headers["ETag"] in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(content, headers=headers, media_type=_MODULES[path])

    return Route(path, answer, methods=["GET"])


def add_pages(app: Starlette, settings: Settings) -> None:
    """Mounts the pages on the application; the playground only where the settings have one."""
    routes = app.router.routes
    guides = Guides.found()
    has = {
        "playground": settings.playground_kid is not None,
        "portal": settings.portal,
        "console": settings.console and settings.admin_port is None,
    }
    routes.append(_home(guides, [name for name, is_on in has.items() if is_on]))
    routes.append(_search(guides))
    routes.extend(_picture(file) for file in sorted((ROOT / "docs").glob("*.svg")))
    routes.append(_guides(guides))
    routes.append(_page("docs", _POLICY))
    routes.append(Mount("/docs/files", StaticFiles(directory=_STATIC)))
    routes.append(Mount("/docs/vendor", StaticFiles(directory=_vendor_folder())))
    routes.extend(_module(path) for path in _MODULES)
    playgrounds = {"playground": settings.playground_kid is not None, "portal-playground": settings.portal}
    if any(playgrounds.values()):
        parts = urlsplit(settings.sandbox_public_base_url)
        policy = _PLAYGROUND_POLICY.format(sandbox=f" {parts.scheme}://{parts.netloc}")
        routes.extend(_page(name, policy, file="playground") for name, is_on in playgrounds.items() if is_on)
        routes.append(Mount("/playground/files", StaticFiles(directory=_STATIC)))
