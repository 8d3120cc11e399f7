"""The doctor says before anybody tries whether operators can sign in by OpenID Connect."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from app.admin.checks import sign_in_checks
from app.config import Settings
from tests.beside import Quiet, serving
from tests.sessions.provider import KEY, SETTINGS

pytestmark = pytest.mark.anyio


class _Provider(Quiet, BaseHTTPRequestHandler):
    changes: dict[str, Any] = {}  # noqa: RUF012 - of one test's class

    def do_GET(self) -> None:
        issuer = f"http://127.0.0.1:{self.server.server_port}"  # type: ignore[attr-defined]
        names = ("authorization_endpoint", "token_endpoint", "jwks_uri")
        found: dict[str, Any] = {"issuer": issuer, **{one: f"{issuer}/{one}" for one in names}}
        if self.path == "/jwks_uri":
            found = {"keys": [KEY.as_dict(private=False)]}
        body = json.dumps(found | self.changes).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def provider() -> Iterator[tuple[str, type[_Provider]]]:
    handler = type("Handler", (_Provider,), {"changes": {}})
    with serving(handler) as port:
        yield f"http://127.0.0.1:{port}", handler


async def _found(issuer: str, **more: Any) -> list[tuple[str, str]]:
    base = {"admin_api": True, "console": True, "console_url": "https://console.test", "pepper": "p" * 43}
    settings = Settings(**{**base, **SETTINGS, "oidc_issuer": issuer, **more})
    return [(one.level, one.finding) for one in await sign_in_checks.examine(settings)]


async def test_a_good_provider_is_named_with_the_address_that_it_must_know(
    provider: tuple[str, type[_Provider]],
) -> None:
    issuer, _ = provider
    ((level, finding),) = await _found(issuer)
    assert level == "good"
    assert "1 usable key" in finding
    assert "https://console.test/console/oidc/callback" in finding


async def test_a_provider_of_no_use_and_a_way_back_without_a_session_are_bad(
    provider: tuple[str, type[_Provider]],
) -> None:
    issuer, handler = provider
    handler.changes = {"issuer": "https://evil.test"}
    ((level, finding),) = await _found(issuer)
    assert (level, "of another issuer" in finding) == ("bad", True)
    handler.changes = {"keys": []}
    ((level, finding),) = await _found(issuer)
    assert (level, "no usable key" in finding) == ("bad", True)
    ((level, finding),) = await _found("http://127.0.0.1:9")
    assert (level, "could not be reached" in finding) == ("bad", True)
    handler.changes = {}
    _, (level, finding) = await _found(issuer, console_url="http://console.test")
    assert (level, "REELGATE_CONSOLE_URL" in finding) == ("bad", True)


async def test_nothing_is_said_of_a_sign_in_that_nobody_configured() -> None:
    assert await sign_in_checks.examine(Settings(pepper="p" * 43)) == []
