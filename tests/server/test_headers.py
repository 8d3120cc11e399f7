"""What the edge lets out: the headers of its list, and always those that keep browsers from mischief."""

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest
from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from app import console
from app.api.problems import answer_http_exception
from app.api.routes import ROUTES
from app.server.edge import HANDLER_HEADERS, Edge
from tests.contract.published import HEADERS, OURS
from tests.harness import SUBMIT, World
from tests.sandbox.harness import DREAMINA
from tests.streams import streaming

pytestmark = pytest.mark.anyio

ALWAYS = {
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "vary": "Origin",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
POLICY = "default-src 'none'; frame-ancestors 'none'"
OF_FILES = {"accept-ranges", "content-range", "last-modified"}
OF_PAGES = {"cross-origin-opener-policy", "permissions-policy"}


@asynccontextmanager
async def _around(
    answer: Response | HTTPException, base_url: str = OURS
) -> AsyncIterator[httpx2.AsyncClient]:
    """The edge around an application that has one answer to everything."""
    app = FastAPI(openapi_url=None)
    app.state.base_url = base_url
    app.add_exception_handler(HTTPException, answer_http_exception)

    @app.get("/")
    async def _answer(_request: Request) -> Response:
        if isinstance(answer, HTTPException):
            raise answer
        return answer

    transport = httpx2.ASGITransport(Edge(app, base_url), raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url=base_url) as client:
        yield client


async def _sent(headers: Mapping[str, str], *, base_url: str = OURS) -> httpx2.Response:
    """An answer with these headers, behind the edge."""
    async with _around(Response("{}", headers=headers, media_type="application/json"), base_url) as client:
        return await client.get("/")


# --- the list

STRANGE = {
    "Set-Cookie": "session=secret",
    "Server": "uvicorn",
    "X-Powered-By": "starlette",
    "Location": "https://evil.example",
    "X-Runcomfy-Request-Id": "an id of the upstream's",
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Credentials": "true",
    "Strict-Transport-Security": "max-age=0",
    "X-Frame-Options": "ALLOWALL",
    "X-Content-Type-Options": "sniff",
    "Referrer-Policy": "unsafe-url",
    "Cross-Origin-Resource-Policy": "cross-origin",
    "Reelgate-Trace-Id": "forged",
}


async def test_what_no_answer_of_ours_says_does_not_go_out(capfd: pytest.CaptureFixture[str]) -> None:
    answer = await _sent(STRANGE | {"ETag": '"kept"', "Retry-After": "5"})
    assert set(answer.headers) <= HEADERS
    values = set(answer.headers.values())
    assert not values & set(STRANGE.values())
    assert (answer.headers["etag"], answer.headers["retry-after"]) == ('"kept"', "5")
    assert "session=secret" not in "".join(capfd.readouterr())


async def test_nor_does_it_with_the_frameworks_refusals() -> None:
    async with _around(HTTPException(418, "No.", headers={"Set-Cookie": "a=b", "Location": "/"})) as client:
        answer = await client.get("/")
    assert answer.status_code == 418
    assert set(answer.headers) <= HEADERS


async def test_everything_on_the_list_goes_out_as_it_is() -> None:
    listed = {name.decode() for name in HANDLER_HEADERS} - {"vary", "content-length", "content-type"}
    answer = await _sent({name: f"value of {name}" for name in listed})
    assert {name: answer.headers[name] for name in listed} == {name: f"value of {name}" for name in listed}
    assert listed <= HEADERS | OF_FILES | OF_PAGES


# --- what browsers are told


async def test_every_answer_says_once_what_keeps_browsers_from_mischief() -> None:
    answer = await _sent({})
    names = [name for name, _ in answer.headers.multi_items()]
    assert sorted(names) == sorted(set(names))
    expected = ALWAYS | {"cache-control": "no-store", "content-security-policy": POLICY}
    assert {name: answer.headers[name] for name in expected} == expected


async def test_an_answer_may_have_its_own_policy_and_be_kept() -> None:
    own = {"Cache-Control": "max-age=60", "Content-Security-Policy": "default-src 'self'"}
    for given in ({}, *({name: own[name]} for name in own), own):
        answer = await _sent(given)
        assert answer.headers.get_list("cache-control") == [given.get("Cache-Control", "no-store")]
        policies = answer.headers.get_list("content-security-policy")
        assert policies == [given.get("Content-Security-Policy", POLICY)]
        assert {name: answer.headers[name] for name in ALWAYS} == ALWAYS


@pytest.mark.parametrize(
    ("given", "merged"),
    [
        ("Accept", "Accept, Origin"),
        ("Accept-Encoding,Accept", "Accept-Encoding, Accept, Origin"),
        ("origin", "origin"),
        ("Accept, ORIGIN", "Accept, ORIGIN"),
        ("X-Origin", "X-Origin, Origin"),
        ("*", "*"),
        ("", "Origin"),
        (" , ", "Origin"),
    ],
)
async def test_vary_keeps_what_an_answer_says_and_adds_the_origin(given: str, merged: str) -> None:
    assert (await _sent({"Vary": given})).headers.get_list("vary") == [merged]


@pytest.mark.parametrize(
    ("base_url", "promised"),
    [
        ("https://gateway.example", True),
        ("HTTPS://gateway.example/below", True),
        ("http://gateway.example", False),
        ("http://https.example", False),
    ],
)
async def test_https_is_promised_where_callers_use_it(base_url: str, promised: bool) -> None:
    answer = await _sent({}, base_url=base_url)
    assert answer.headers.get("strict-transport-security") == ("max-age=31536000" if promised else None)


async def test_a_stopping_server_closes_once() -> None:
    async with _around(Response(headers={"Connection": "keep-alive"})) as client:
        assert (await client.get("/")).headers.get_list("connection") == ["keep-alive"]
        transport = client._transport
        assert isinstance(transport, httpx2.ASGITransport)
        edge = transport.app
        assert isinstance(edge, Edge)
        edge._app.state.draining = True
        assert (await client.get("/")).headers.get_list("connection") == ["close"]


# --- everywhere


async def test_every_address_answers_with_listed_headers_each_once(world: World) -> None:
    request_id = await world.submitted("queued")
    paths = {
        one.path.replace("{model_id:path}", DREAMINA)
        .replace("{request_id}", request_id)
        .replace("{slug}", "invalid-json")
        for one in ROUTES
        if not one.streams
    }
    paths |= {"/openapi.json", "/metrics", "/docs", "/docs/files/docs.js", "/docs/vendor/swagger-ui.css"}
    paths |= {"/", "/docs/files/nothing", "/docs/vendor", "/v1/requests/%0A", "/nowhere%0A"}
    seen = set()
    for path in paths:
        for method in ("GET", "POST", "HEAD", "OPTIONS", "PUT"):
            for headers in ({}, {"Authorization": ""}, {"If-None-Match": "*"}, {"Range": "bytes=0-9"}):
                answer = await world.client.request(method, path, headers=headers)
                seen.add(answer.status_code)
                names = [name for name, _ in answer.headers.multi_items()]
                assert len(set(names)) == len(names), (method, path, names)
                assert set(names) <= HEADERS | OF_FILES | OF_PAGES, (method, path)
                assert {name: answer.headers[name] for name in ALWAYS} == ALWAYS, (method, path)
                own = path == "/docs" and answer.status_code in {200, 206}
                assert (answer.headers["content-security-policy"] == POLICY) == (not own), (method, path)
    assert {200, 206, 304, 401, 404, 405} <= seen
    async with streaming(world, f"/v1/requests/{request_id}/events") as stream:
        assert set(stream.headers) <= HEADERS
        assert stream.headers.items() >= (ALWAYS | {"content-security-policy": POLICY}).items()


async def test_the_reference_page_works_by_its_policy(world: World) -> None:
    answer = await world.client.get("/docs", headers={"Authorization": ""})
    policy = dict(one.strip().split(" ", 1) for one in answer.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == policy["frame-ancestors"] == "'none'"
    assert policy["script-src"] == policy["connect-src"] == "'self'"
    assert not re.search(r"<script(?![^>]*\ssrc=)|\son\w+=|javascript:", answer.text)  # nothing inline
    files = re.findall(r'(?:src|href)="([^"]+)"', answer.text)
    assert len(files) >= 4
    for path in files:
        assert path.startswith("docs/")  # and so of the page's own origin, below whatever path it is
        file = await world.client.get(f"/{path}", headers={"Authorization": ""})
        assert file.status_code == 200
        assert file.headers["content-type"].partition(";")[0] in {
            "text/css",
            "text/javascript",
            "application/javascript",
            "image/svg+xml",
        }
    script = (Path(str(console.__file__)).parent / "static" / "docs.js").read_text()
    assert 'url: new URL("../../openapi.json", import.meta.url)' in script
    # What it sends is same-origin, and browsers name the origin with every POST.
    answer = await world.client.post(SUBMIT, json=world.body(), headers={"Origin": OURS})
    assert answer.status_code == 200
