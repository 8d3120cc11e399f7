"""What every answer must keep, whatever was asked: the published contract, and the promises of the edge."""

import copy
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx2
import jsonschema_rs
import structlog

from app.api.routes import ROUTES, Route
from app.errors import CATALOGUE
from tests.canary import canary
from tests.harness import World
from tests.sandbox.harness import TOKEN

FAULTS = {fault.code: fault for fault in CATALOGUE}
OURS = "http://gateway.test"
STREAM = "text/event-stream"
OUTSIDE = re.compile(
    r"/|/openapi\.json|/admin/.*|/metrics|/client\.(js|d\.ts)|/(docs|guides|playground)(/.*)?"
)  # documents for people and tools, not of the API
HEADERS = {
    "accept-ranges",
    "access-control-allow-headers",
    "access-control-allow-methods",
    "access-control-allow-origin",
    "access-control-expose-headers",
    "access-control-max-age",
    "allow",
    "cache-control",
    "connection",
    "content-length",
    "content-range",
    "content-security-policy",
    "content-type",
    "cross-origin-resource-policy",
    "content-disposition",
    "etag",
    "idempotent-replayed",
    "link",
    "location",
    "preference-applied",
    "ratelimit",
    "ratelimit-policy",
    "referrer-policy",
    "reelgate-media-warnings",
    "reelgate-stale",
    "reelgate-trace-id",
    "retry-after",
    "vary",
    "www-authenticate",
    "x-accel-buffering",
    "x-content-type-options",
    "x-frame-options",
}
"""All that may ever be answered: nothing is copied from the upstream."""
_OPEN = {
    "Model",
    "ListedModel",
    "ModelPage",
}  # RunComfy's shape with additions, some of them a model file's own
_PATTERNS = {
    route: re.compile(
        re.sub(r"{\w+}", "[^/]+", route.path.replace("{model_id:path}", ".*")),
        re.DOTALL,
    )
    for route in ROUTES
}


@dataclass
class Contract:
    """The OpenAPI document, with a validator for each schema that it names.

    An object may hold what its schema names and nothing else, so that no member goes undocumented.
    """

    document: dict[str, Any]
    _closed: dict[str, Any] = field(default_factory=dict)
    _validators: dict[str, jsonschema_rs.Draft202012Validator] = field(default_factory=dict)

    def operation(self, route: Route) -> dict[str, Any]:
        operation = self.document["paths"][route.path.replace(":path", "")][route.method.lower()]
        assert isinstance(operation, dict)
        return operation

    def breaches(self, answer: httpx2.Response) -> list[str]:
        """Where the answer is not what the document says, empty when it is."""
        route = route_of(answer.request.method, answer.request.url.path)
        if route is None:
            # Preflights are asked by browsers, and by no client of the document's.
            usual = {204, 403, 503} if is_preflight(answer.request) else {404, 405}
            if answer.request.method == "OPTIONS" and answer.headers.get("allow"):
                usual |= {204}
            if answer.status_code not in usual:
                return [f"{answer.status_code} at an address without an operation"]
            return (
                self.misfits({"$ref": "#/components/schemas/Problem"}, answer.json())
                if answer.content
                else []
            )
        published = self.operation(route)["responses"].get(str(answer.status_code))
        if published is None:
            return [f"{answer.status_code} is not a published answer of {route.operation_id}"]
        if not answer.content:
            return [] if "content" not in published else [f"{answer.status_code} has no body"]
        return self._breaches_of_body(answer, published["content"])

    def _breaches_of_body(self, answer: httpx2.Response, contents: dict[str, Any]) -> list[str]:
        if is_of_bytes(answer) and answer.status_code < 400:
            return []
        media_type = answer.headers["content-type"].partition(";")[0]
        if media_type not in contents:
            return [f"{media_type} is not published for it"]
        schema = contents[media_type]["schema"]
        if answer.headers["content-type"] in FILES:
            return []
        if media_type != STREAM:
            return self.misfits(schema, answer.json())
        schema = schema["contentSchema"]["items"]
        states = re.findall(r"^event: state\ndata: (.*)$", answer.text, re.MULTILINE)
        return [one for state in states for one in self.misfits(schema, json.loads(state))]

    def misfits(self, schema: dict[str, Any], document: Any) -> list[str]:
        key = json.dumps(schema)
        if not self._closed:
            self._closed = copy.deepcopy(self.document["components"]["schemas"])
            for name, component in self._closed.items():
                if name not in _OPEN:
                    _close(component)
        if key not in self._validators:
            rooted = {**schema, "components": {"schemas": self._closed}}
            self._validators[key] = jsonschema_rs.Draft202012Validator(rooted, validate_formats=True)
        return [str(error) for error in self._validators[key].iter_errors(document)]


def _close(schema: Any) -> None:
    if isinstance(schema, list):
        for item in schema:
            _close(item)
    elif isinstance(schema, dict):
        if "properties" in schema:
            schema["additionalProperties"] = False
        for value in schema.values():
            _close(value)


def route_of(method: str, path: str) -> Route | None:
    """The operation that an address stands for, or None."""
    asked = "GET" if method == "HEAD" else method
    tidy = "/" + "/".join(filter(None, path.split("/")))  # slashes too many make no other address
    fitting = (one for one, form in _PATTERNS.items() if one.method == asked and form.fullmatch(tidy))
    return next(fitting, None)


def is_preflight(request: httpx2.Request) -> bool:
    """Whether it asks what a page may ask."""
    asks = {"origin", "access-control-request-method"} <= set(request.headers)
    return request.method == "OPTIONS" and asks


@contextmanager
def keeping_the_contract(world: World, contract: Contract) -> Iterator[None]:
    """Every answer to the world's client must keep the contract, and tell no secret of the upstream's."""
    answered: list[tuple[str, str]] = []

    async def check(answer: httpx2.Response) -> None:
        if OUTSIDE.fullmatch("/" + answer.request.url.path.strip("/")):
            return
        await answer.aread()
        answered.append((str(answer.request.url), f"{answer.headers}\n{answer.text}"))
        keep_promises(answer)
        if answer.request.method != "HEAD":
            assert contract.breaches(answer) == []

    world.client.event_hooks = {"response": [check]}
    with plain_logs():
        yield
    submissions = world.sandbox.ledger()["submissions"] if world.marks else []
    marked = [one for one in submissions if any(mark in json.dumps(one["input"]) for mark in world.marks)]
    secrets = {one["request_id"] for one in marked if one["request_id"]} | {TOKEN}
    # A caller who writes one into an address reads it again in `instance`; that tells nothing.
    told = [(url, one) for url, said in answered for one in secrets if one in said and one not in url]
    assert told == []


FILES = ("text/csv; charset=utf-8", "application/pdf", "text/plain; charset=utf-8")
"""What reports are served as, besides JSON."""


def is_of_bytes(answer: httpx2.Response) -> bool:
    """Whether it is at an address whose answers are the bytes of a file."""
    route = route_of(answer.request.method, answer.request.url.path)
    return route is not None and route.binary


def keep_promises(answer: httpx2.Response) -> None:
    """Assert what holds for every answer of the API."""
    if not is_of_bytes(answer):
        assert not 300 <= answer.status_code < 304, "several clients take any redirect for an error"
        assert "location" not in answer.headers
    assert set(answer.headers) <= HEADERS, set(answer.headers) - HEADERS
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["vary"] == "Origin"
    assert answer.headers.get("access-control-allow-origin", "https://") not in {"*", "null", ""}
    assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["reelgate-trace-id"])
    if answer.request.method == "HEAD" or answer.headers.get("content-type", "").startswith(STREAM):
        return
    if answer.status_code in {204, 304}:
        assert not answer.content
        return
    if answer.status_code == 200 and answer.headers["content-type"] in FILES:
        return
    if answer.status_code < 400 and is_of_bytes(answer):
        return
    document = answer.json()
    assert isinstance(document, dict)
    if answer.status_code < 400:
        assert answer.headers["content-type"] == "application/json"
        return
    assert answer.headers["content-type"] == "application/problem+json"
    fault = FAULTS[document["code"]]
    assert document["status"] == answer.status_code
    if fault.code != "http_error":
        assert fault.status == answer.status_code
    assert document["type"] == (fault.registered or f"{OURS}/problems/{fault.slug}")
    assert (document["title"], document["retryable"], document["remedy"]) == (
        fault.title,
        fault.retryable,
        fault.remedy,
    )
    assert document["detail"]
    assert document["trace_id"] == answer.headers["reelgate-trace-id"]
    assert answer.headers.get("retry-after") == (
        str(document["retry_after_s"]) if "retry_after_s" in document else None
    )
    assert ("www-authenticate" in answer.headers) == (answer.status_code == 401)


def problem_of(answer: httpx2.Response, status: int, code: str) -> dict[str, Any]:
    """The problem document, which must be this one."""
    assert answer.status_code == status, answer.text
    document = answer.json()
    assert isinstance(document, dict)
    assert document["code"] == code, document
    return document


@contextmanager
def plain_logs() -> Iterator[None]:
    """Stack traces without the values of every local, whose drawing takes seconds for a whole gateway."""
    before = structlog.get_config()
    renderer = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[canary.log, structlog.processors.add_log_level, renderer])
    yield
    structlog.configure(**before)
