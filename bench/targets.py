"""What the comparison measures: the requests of each target, and the loops that each goes through."""

import base64
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from bench.baseline import RAW_PATH
from bench.children import HOST
from bench.gateway import MODEL, SUBMIT, Gateway, submit_body

JOB_IDS = 16  # requests of each kind: more than one row, all of them in the cache of any database
_VALUES = 100  # of a header that differs, for each request
OTHER_IDS = 12_000  # requests of "another row": more than a second of a loop asks for


@dataclass(frozen=True, slots=True)
class Target:
    """One kind of request; `baseline` names the target it is compared with, None if it is a baseline."""

    name: str
    title: str
    baseline: str | None

    @property
    def of_baseline(self) -> bool:
        """Whether the baselines' server answers it."""
        return self.baseline is None or self.name == RAW


RAW = "raw-get"
TARGETS = (
    Target("baseline-get", "bare FastAPI GET", None),
    Target(RAW, "raw ASGI", "baseline-get"),
    Target("model", "GET a model", "baseline-get"),
    Target("status-finished", "status, finished job", "baseline-get"),
    Target("status-live", "status, live job, fresh", "baseline-get"),
    Target("result-finished", "result, finished job", "baseline-get"),
    Target("status-other", "status, another row", "baseline-get"),
    Target("status-traced", "status, traced caller", "baseline-get"),
    Target("status-tagged", "status, with an old tag", "baseline-get"),
    Target("baseline-post", "bare FastAPI POST", None),
    Target("submit", "submit", "baseline-post"),
)


@dataclass(frozen=True, slots=True)
class Loop:
    """How requests are sent: one after the other on each connection or, with a `rate`, that many a second."""

    name: str
    connections: int
    rate: float | None = None


def loops(rate: float, *, quick: bool) -> list[Loop]:
    """Returns the loops of a round."""
    closed = (16,) if quick else (1, 16, 64)
    # Each connection is used about once a second or more often: uvicorn closes one that is idle for five.
    return [
        *(Loop(f"closed {count}", count) for count in closed),
        Loop(f"open {rate:g}/s", max(1, min(64, int(rate))), rate),
    ]


@dataclass(frozen=True, slots=True)
class Traffic:
    """A target's requests as sent (base64), their port, and a text that every right response contains."""

    port: int
    requests: list[str]
    expect: str


def traffic(gateway: Gateway, others: list[str], baseline_port: int) -> dict[str, Traffic]:
    """Returns the traffic of every target; the baseline gets the same headers and the same body.

    `others` are further finished requests, of which each is asked for once in a while.
    """
    body = submit_body("a harbour at dawn, the boats rock gently, slow camera move to the left")
    key = gateway.key

    def status_of(jobs: list[str], place: str) -> list[str]:
        return [wire("GET", place.format(job), key) for job in jobs]

    def with_header(name: str, value: str) -> list[str]:
        """Returns requests of callers who send a header of which a part differs in each."""
        return [
            wire("GET", ours.format(job), key, headers={name: value.format(secrets.token_hex(16))})
            for job in gateway.finished
            for _ in range(_VALUES)
        ]

    baseline = status_of(gateway.finished, "/jobs/{}/status")
    ours = "/v1/requests/{}/status"
    return {
        "baseline-get": Traffic(baseline_port, baseline, '"status":"completed"'),
        RAW: Traffic(baseline_port, [wire("GET", RAW_PATH, key)], '"status":"completed"'),
        "model": Traffic(gateway.port, [wire("GET", SUBMIT, key)], f'"model_id":"{MODEL}"'),
        "status-finished": Traffic(gateway.port, status_of(gateway.finished, ours), '"status":"completed"'),
        "status-live": Traffic(gateway.port, status_of(gateway.live, ours), '"status":"in_queue"'),
        "result-finished": Traffic(
            gateway.port, status_of(gateway.finished, "/v1/requests/{}/result"), '"status":"succeeded"'
        ),
        "status-other": Traffic(gateway.port, status_of(others, ours), '"status":"completed"'),
        "status-traced": Traffic(
            gateway.port, with_header("traceparent", f"00-{{}}-{'1' * 16}-01"), '"status":"completed"'
        ),
        "status-tagged": Traffic(gateway.port, with_header("If-None-Match", '"{}"'), '"status":"completed"'),
        "baseline-post": Traffic(baseline_port, [wire("POST", "/jobs", key, body)], '"members":4'),
        "submit": Traffic(gateway.port, [wire("POST", SUBMIT, key, body)], '"request_id":"'),
    }


def wire(
    method: str, path: str, key: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
) -> str:
    """Returns a request as it is sent, in base64."""
    lines = [
        f"{method} {path} HTTP/1.1",
        f"Host: {HOST}",
        f"Authorization: Bearer {key}",
        "Accept: application/json",
        "User-Agent: reelgate-bench",
        *(f"{name}: {value}" for name, value in (headers or {}).items()),
    ]
    if body is not None:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return base64.b64encode("\r\n".join([*lines, "", ""]).encode() + (body or b"")).decode()
