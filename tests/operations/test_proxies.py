"""The shipped proxies, in front of a server: TLS, streams at once, large bodies, paths that stay closed."""

import base64
import re
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from app.config import Settings
from tests.harness import SUBMIT
from tests.operations import proxies
from tests.operations.proxies import NAME, Proxy
from tests.operations.tools import DEPLOY
from tests.patience import PATIENCE_S
from tests.processes import a_key, place_for, started
from tests.sandbox.harness import Running

DEFAULTS = {name: field.default for name, field in Settings.model_fields.items()}


@pytest.fixture(params=["nginx", "caddy"])
def proxied(
    request: pytest.FixtureRequest, sqlite_url: str, tmp_path: Path, sandbox: Running
) -> Iterator[tuple[Proxy, str]]:
    """A proxy in front of one server (its other one is not there), and a key."""
    _, key = a_key(sqlite_url)
    place = place_for(tmp_path, sqlite_url, sandbox.options.public_url, HEARTBEAT_S="0.2")
    with started(place), getattr(proxies, request.param)(tmp_path, (int(place.settings["PORT"]), 9)) as proxy:
        yield proxy, key


def client_of(proxied: tuple[Proxy, str], **headers: str) -> httpx2.Client:
    proxy, key = proxied
    return httpx2.Client(
        base_url=proxy.url,
        headers={"Host": NAME, "Authorization": f"Bearer {key}", **headers},
        verify=False,
        trust_env=False,
        timeout=PATIENCE_S,
    )


def test_calls_streams_and_large_bodies_pass_and_what_is_the_operators_does_not(
    proxied: tuple[Proxy, str], sandbox: Running
) -> None:
    picture = f"{sandbox.options.public_url}/samples/harbour.jpg"
    with client_of(proxied, **{"Accept-Encoding": "gzip"}) as client:
        body = {"image_urls": [picture], "prompt": "a boat [sandbox:queued]"}
        made = client.post(SUBMIT, json=body)
        assert made.status_code == 200, made.text
        request_id = made.json()["request_id"]
        assert made.json()["status_url"].endswith(f"/v1/requests/{request_id}/status")
        # A stream's first bytes and signs of life come while it goes on, though the caller takes gzip.
        with client.stream("GET", f"/v1/requests/{request_id}/events") as answer:
            came = b""
            for part in answer.iter_bytes():
                came += part
                if b": ping" in came and b"event: " in came:
                    break
        # A held answer is longer than nothing, and is no error.
        began_s = time.monotonic()
        assert client.get(f"/v1/requests/{request_id}/status?wait=1").status_code == 200
        assert time.monotonic() - began_s > 0.9
        # What the gateway takes passes the proxy: its own refusal comes, not the proxy's.
        large = "data:image/png;base64," + base64.b64encode(bytes(6_000_000)).decode()
        answered = client.post(SUBMIT, json={**body, "image_urls": [large]})
        assert answered.headers["content-type"] == "application/problem+json"
        assert client.get("/metrics").status_code == 404
        # Slashes and escapes come as they were sent.
        assert client.get("/v1//models").status_code == 200


def test_time_outs_and_sizes_agree_with_the_defaults() -> None:
    proxy = (DEPLOY / "nginx" / "reelgate.proxy").read_text("utf-8")
    conf = (DEPLOY / "nginx" / "reelgate.conf").read_text("utf-8")
    caddyfile = (DEPLOY / "caddy" / "Caddyfile").read_text("utf-8")
    longest_s = max(DEFAULTS[name] for name in ("max_wait_s", "submit_deadline_s", "heartbeat_s"))
    for told in re.findall(r"(?:proxy_read_timeout|response_header_timeout) (\d+)s", proxy + caddyfile):
        assert int(told) > longest_s + 30
    body = DEFAULTS["max_body_bytes"] + DEFAULTS["max_data_uri_bytes"]
    for told in re.findall(r"(?:client_max_body_size|max_size) (\d+)", conf + caddyfile):
        assert int(told) * 1_000_000 > body
    delay_s = float(
        re.findall(r"DRAIN_DELAY_S=(\d+)", (DEPLOY / "systemd" / "reelgate@.service").read_text("utf-8"))[0]
    )
    for told in re.findall(r"(?:keepalive_timeout|keepalive) (\d+)s", conf + caddyfile):
        assert int(told) < min(delay_s, DEFAULTS["keep_alive_s"])
    assert re.search(r"proxy_next_upstream error timeout;", proxy), (
        "never `non_idempotent`: no submit goes twice"
    )
