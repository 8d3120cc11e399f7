"""What the gateway's own pages send in place of a key: a cookie, and proof that the call is theirs.

A cookie is sent with calls that other sites cause, too. So a session counts for nothing unless the browser
says that the call comes from a page of this origin: by `Sec-Fetch-Site` or `Origin`, which no script can set,
and for changes by a header of ours too, which no form can send.
"""

from ipaddress import ip_address
from typing import Final, Literal
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from app.api.cors import is_own
from app.config import Settings
from app.errors import FOREIGN_PAGE, Problem

Page = Literal["console", "portal"]
PAGE_HEADER: Final = "reelgate-page"
OWN_HEADERS: Final = "own_headers"
"""The name, in a request's state, of cookies that its answer sets, and of where it leads.

No handler can send either otherwise.
"""
_SAFE: Final = frozenset({"GET", "HEAD"})


def cookie_name(page: Page) -> str:
    """Returns the name of a page's cookie. Its prefix has browsers insist on what it is set with."""
    return f"__Host-reelgate-{page}"


def session_text(request: Request, settings: Settings, page: Page) -> str | None:
    """Returns what a page's cookie holds; None where there is none, or no such page."""
    if not (settings.console if page == "console" else settings.portal):
        return None
    return request.cookies.get(cookie_name(page)) or None


def refuse_foreign_page(request: Request, base_url: str) -> None:
    """Refuses a call with a session that is not proven to come from a page of this origin.

    Raises:
        Problem: FOREIGN_PAGE.

    """
    site = request.headers.get("sec-fetch-site")
    origin: str | None = request.scope.get("state", {}).get("origin")
    if site not in {None, "same-origin"}:
        raise Problem(FOREIGN_PAGE, "The call comes from a page of another site, or from an address bar.")
    if origin is not None and not is_of_this(request, origin, base_url):
        raise Problem(FOREIGN_PAGE, "The call comes from a page of another origin.")
    is_marked = request.headers.get(PAGE_HEADER) == "1"
    if site is None and origin is None and not is_marked:
        raise Problem(FOREIGN_PAGE, "Nothing says that the call comes from a page of this gateway.")
    if request.method not in _SAFE and not (is_marked and origin is not None):
        raise Problem(FOREIGN_PAGE, "A change with a session needs `Origin` and `Reelgate-Page: 1`.")


def is_of_this(request: Request, origin: str, base_url: str) -> bool:
    """Returns whether a page's origin is the one that this call was sent to, or the gateway's public one.

    Plain http counts on a loopback address, as for browsers: behind a tunnel to the admin port, for example.
    """
    if is_own(request.scope, origin, base_url):
        return True
    return origin == f"http://{request.headers.get('host')}" and _is_loopback(urlsplit(origin).hostname or "")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def set_session(request: Request, page: Page, text: str) -> None:
    """Has the answer give the browser a session. No script can read it, and it goes to this origin alone."""
    set_cookie(request, f"{cookie_name(page)}={text}; Path=/; Secure; HttpOnly; SameSite=Strict")


def clear_session(request: Request, page: Page) -> None:
    """Has the answer make the browser forget a session."""
    set_cookie(request, f"{cookie_name(page)}=; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=0")


def set_cookie(request: Request, cookie: str) -> None:
    """Has the answer set a cookie."""
    _add(request, b"set-cookie", cookie)


def lead(request: Request, address: str) -> Response:
    """Returns an answer that leads the browser to an address of ours, which is relative."""
    _add(request, b"location", address)
    return Response(status_code=303)


def send_to(request: Request, address: str) -> Response:
    """Returns an answer that sends a client to an address of the store of files."""
    _add(request, b"location", address)
    return Response(status_code=302)


def _add(request: Request, name: bytes, value: str) -> None:
    request.scope["state"].setdefault(OWN_HEADERS, []).append((name, value.encode()))
