"""What the comparison measures: the requests of each target, and the loops that each goes through."""

import base64
from dataclasses import dataclass

from bench.children import HOST
from bench.gateway import MODEL, SUBMIT, Gateway, submit_body

JOB_IDS = 16  # requests of each kind: more than one row, all of them in the cache of any database


@dataclass(frozen=True, slots=True)
class Target:
    """One kind of request; `baseline` names the target it is compared with, None if it is a baseline."""

    name: str
    title: str
    baseline: str | None


TARGETS = (
    Target("baseline-get", "bare FastAPI GET", None),
    Target("model", "GET a model", "baseline-get"),
    Target("status-finished", "status, finished job", "baseline-get"),
    Target("status-live", "status, live job, fresh", "baseline-get"),
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


def traffic(gateway: Gateway, baseline_port: int) -> dict[str, Traffic]:
    """Returns the traffic of every target; the baseline gets the same headers and the same body."""
    body = submit_body("a harbour at dawn, the boats rock gently, slow camera move to the left")
    key = gateway.key

    def status_of(jobs: list[str], place: str) -> list[str]:
        return [wire("GET", place.format(job), key) for job in jobs]

    baseline = status_of(gateway.finished, "/jobs/{}/status")
    ours = "/v1/requests/{}/status"
    return {
        "baseline-get": Traffic(baseline_port, baseline, '"status":"completed"'),
        "model": Traffic(gateway.port, [wire("GET", SUBMIT, key)], f'"model_id":"{MODEL}"'),
        "status-finished": Traffic(gateway.port, status_of(gateway.finished, ours), '"status":"completed"'),
        "status-live": Traffic(gateway.port, status_of(gateway.live, ours), '"status":"in_queue"'),
        "baseline-post": Traffic(baseline_port, [wire("POST", "/jobs", key, body)], '"members":4'),
        "submit": Traffic(gateway.port, [wire("POST", SUBMIT, key, body)], '"request_id":"'),
    }


def wire(method: str, path: str, key: str, body: bytes | None = None) -> str:
    """Returns a request as it is sent, in base64."""
    lines = [
        f"{method} {path} HTTP/1.1",
        f"Host: {HOST}",
        f"Authorization: Bearer {key}",
        "Accept: application/json",
        "User-Agent: reelgate-bench",
    ]
    if body is not None:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return base64.b64encode("\r\n".join([*lines, "", ""]).encode() + (body or b"")).decode()
