"""Serves the console of operators and the portal of tenants: two pages, one set of scripts.

The pages hold no data. Their scripts come from this origin alone, as files beside this module, and call the
admin API and `/v1`.
"""

import hashlib
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from app.config import Settings
from app.console.pages import headers_of

FILES: Final = Path(__file__).parent / "static" / "sites"
# Outputs are shown from whatever https host they are at; everything else is this origin's.
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';"
    " img-src 'self' data: https: {ours}; media-src 'self' https: {ours}; base-uri 'none';"
    " form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
_VENDOR: Final = "vendor."
_COMMENT: Final = re.compile(r"^[ \t]*(?://.*|/\*\*(?s:.*?)\*/[ \t]*)$", re.MULTILINE)
"""A comment that has its lines to itself."""
_INDENTATION: Final = re.compile(r"^[ \t]+", re.MULTILINE)
_AROUND_SIGNS: Final = re.compile(r" ?([{;]) ?|(?<=:) ")
"""Spaces that a style sheet does not need; none of its texts has such signs."""
_TYPES: Final = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".html": "text/html; charset=utf-8",
}


def add_console(app: Starlette, settings: Settings, *, is_home: bool = False) -> None:
    """Mounts the console; with `is_home`, it is what stands at `/` too."""
    _add(app, settings, "console")
    if is_home:
        app.router.routes.append(Route("/", _page("console", settings), methods=["GET"]))


def add_portal(app: Starlette, settings: Settings) -> None:
    """Mounts the portal."""
    _add(app, settings, "portal")


def _page(name: str, settings: Settings) -> Callable[[Request], Awaitable[Response]]:
    # Where the outputs of test keys are, and where links to copies lead.
    addresses = [urlsplit(one) for one in (settings.sandbox_public_base_url, settings.base_url)]
    origins = dict.fromkeys(f"{one.scheme}://{one.netloc}" for one in addresses)
    headers = headers_of(_POLICY.format(ours=" ".join(origins)))
    content = (FILES / f"{name}.html").read_bytes()

    async def answer(_request: Request) -> Response:
        return Response(content, headers=headers, media_type=_TYPES[".html"])

    return answer


def _add(app: Starlette, settings: Settings, name: str) -> None:
    files = {one.name: _answer(one) for one in sorted(FILES.iterdir()) if one.suffix in _TYPES}

    async def answer_file(request: Request) -> Response:
        found = files.get(request.path_params["file"])
        if found is None:
            raise HTTPException(404)
        content, headers, media_type = found
        if headers["ETag"] in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(content, headers=headers, media_type=media_type)

    app.router.routes.append(Route(f"/{name}", _page(name, settings), methods=["GET"]))
    app.router.routes.append(Route(f"/{name}/files/{{file}}", answer_file, methods=["GET"]))


def served(file: Path) -> bytes:
    """Returns a file as browsers get it: ours without indentation and comments, and with its line numbers."""
    content = file.read_bytes()
    if file.suffix not in {".js", ".css"} or file.name.startswith(_VENDOR):
        return content
    text = _COMMENT.sub(lambda found: "\n" * found[0].count("\n"), content.decode())
    text = _INDENTATION.sub("", text)
    return (_AROUND_SIGNS.sub(lambda found: found[1] or "", text) if file.suffix == ".css" else text).encode()


def _answer(file: Path) -> tuple[bytes, dict[str, str], str]:
    content = served(file)
    tag = hashlib.sha256(content).hexdigest()[:32]
    return content, {"ETag": f'"{tag}"', "Cache-Control": "no-cache"}, _TYPES[file.suffix]
