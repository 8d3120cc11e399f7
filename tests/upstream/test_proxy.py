"""Calls to RunComfy through an HTTP proxy: what is sent, what is proven, and what the proxy does not see."""

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.admin.checks.doctor import Configured, examine
from app.config import Settings
from app.gateway import _sandbox, live_credentials
from app.upstream import client
from app.upstream.client import Upstream
from app.upstream.outcomes import Sent, Verdict, judge_submit
from tests.harness import settings_for
from tests.upstream.relay import Proxy, RunComfy, proxying, runcomfy

pytestmark = pytest.mark.anyio
MODEL = "a/b"
BODY = b'{"prompt": "a secret plan"}'


@pytest.fixture
async def proxy() -> AsyncIterator[Proxy]:
    async with proxying() as one:
        yield one


@pytest.fixture
async def vendor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RunComfy]:
    """A RunComfy behind TLS that the gateway trusts."""
    async with runcomfy(tmp_path) as (one, trust):
        monkeypatch.setattr(client, "system_trust", lambda: trust)
        yield one


@pytest.fixture
async def upstream(vendor: RunComfy, proxy: Proxy) -> AsyncIterator[Upstream]:
    url = proxy.url.replace("//", "//us%40er:p%2Fw@")
    async with Upstream(base_url=vendor.url, token="tok", read_deadline_s=5, proxy=url) as one:
        yield one


async def test_a_submit_goes_through_a_tunnel_in_which_the_proxy_sees_neither_token_nor_input(
    upstream: Upstream, vendor: RunComfy, proxy: Proxy
) -> None:
    exchange = await upstream.submit(MODEL, BODY, deadline_s=5)
    assert judge_submit(exchange, now_ms=0).verdict is Verdict.ACCEPTED
    assert (vendor.bodies, vendor.authorizations) == ([BODY], {"Bearer tok"})
    (head,) = proxy.heads
    assert head.startswith(f"CONNECT {vendor.url.removeprefix('https://')} HTTP/1.1\r\n")
    assert f"Proxy-Authorization: Basic {base64.b64encode(b'us@er:p/w').decode()}\r\n" in head
    assert "tok\r\n" not in head


async def test_each_submit_has_a_tunnel_of_its_own_and_reads_share_one(
    upstream: Upstream, proxy: Proxy
) -> None:
    for _ in range(3):
        await upstream.status("x")
    assert proxy.tunnels == 1
    for _ in range(3):
        await upstream.submit(MODEL, BODY, deadline_s=5)
    assert proxy.tunnels == 4


@pytest.mark.parametrize(
    "refusal",
    [
        b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 403 Forbidden\r\nContent-Length: 6\r\n\r\nno way",
        b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: https://login.example/\r\nContent-Length: 0\r\n\r\n",
        b"not HTTP at all\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\nbut no TLS follows",
    ],
)
async def test_a_tunnel_that_is_refused_proves_that_nothing_was_sent(
    upstream: Upstream, vendor: RunComfy, proxy: Proxy, refusal: bytes
) -> None:
    proxy.refusal = refusal
    exchange = await upstream.submit(MODEL, BODY, deadline_s=5)
    assert (exchange.sent, exchange.status) == (Sent.NOTHING, None)
    assert judge_submit(exchange, now_ms=0).verdict is Verdict.NOT_SENT
    assert vendor.bodies == []


async def test_a_proxy_that_does_not_answer_proves_at_the_deadline_that_nothing_was_sent(
    upstream: Upstream, proxy: Proxy
) -> None:
    proxy.silent = True
    exchange = await upstream.submit(MODEL, BODY, deadline_s=0.1)
    assert (exchange.sent, exchange.failure) == (Sent.NOTHING, "timeout")


async def test_a_certificate_that_is_not_trusted_proves_that_nothing_was_sent(
    upstream: Upstream, vendor: RunComfy, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "system_trust", ssl.create_default_context)
    async with Upstream(base_url=vendor.url, token="t", read_deadline_s=5, proxy=proxy.url) as other:
        exchange = await other.submit(MODEL, BODY, deadline_s=5)
    assert (exchange.sent, exchange.failure) == (Sent.NOTHING, "ConnectError")
    assert proxy.tunnels == 1


async def test_a_tunnel_that_is_cut_after_the_body_is_unknown(
    upstream: Upstream, vendor: RunComfy, proxy: Proxy
) -> None:
    vendor.quiet = True
    submit = asyncio.create_task(upstream.submit(MODEL, BODY, deadline_s=5))
    await vendor.received.wait()
    proxy.cut()
    exchange = await submit
    assert exchange.sent is Sent.BODY
    assert judge_submit(exchange, now_ms=0).verdict is Verdict.UNKNOWN


async def test_the_environments_proxy_is_not_used(
    vendor: RunComfy, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, proxy.url)
    async with Upstream(base_url=vendor.url, token="t", read_deadline_s=5) as direct:
        assert (await direct.status("x")).status == 404
    assert proxy.heads == []


# --- settings


def _settings(folder: Path, vendor: RunComfy, proxy: str | None) -> Settings:
    nowhere, database = "http://127.0.0.1:1", f"sqlite:///{folder / 'none.db'}"
    return settings_for(
        database, folder, nowhere, upstream_base_url=vendor.url, upstream_token="tok", upstream_proxy=proxy
    )


async def test_live_credentials_use_the_proxy_and_the_sandbox_does_not(
    vendor: RunComfy, proxy: Proxy, tmp_path: Path
) -> None:
    settings = _settings(tmp_path, vendor, proxy.url)
    for one in (_sandbox(settings), *live_credentials(settings)):
        async with one.upstream:
            await one.upstream.status("x")
    assert [head.split()[1] for head in proxy.heads] == [vendor.url.removeprefix("https://")]


async def test_doctor_asks_through_the_proxy_and_names_it_without_its_password(
    vendor: RunComfy, proxy: Proxy, tmp_path: Path
) -> None:
    with_password = proxy.url.replace("//", "//someone:hunter2@")
    for refusal, level in ((b"", "good"), (b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n", "bad")):
        proxy.refusal = refusal
        checks = {
            one.name: one for one in await examine(Configured(_settings(tmp_path, vendor, with_password)))
        }
        assert checks["upstream"].level == level
        assert f"(through the proxy {proxy.url.removeprefix('http://')})" in checks["upstream"].finding
        assert "hunter2" not in str(checks)


async def test_doctor_names_a_proxy_of_the_environment_that_is_not_used(
    vendor: RunComfy, proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://someone:hunter2@proxy.example:3128")
    for setting, named in ((None, True), (proxy.url, False)):
        checks = {one.name: one for one in await examine(Configured(_settings(tmp_path, vendor, setting)))}
        assert ("proxy" in checks) is named
        assert "hunter2" not in str(checks)


@pytest.mark.parametrize(
    "url",
    [
        "proxy:3128",
        "socks5://proxy:1080",
        "http://",
        "http://proxy:0",
        "http://proxy:port",
        "http://hun/ter2@proxy:3128",
        "http://proxy:3128/path?hunter2",
        "http://pro xy:3128",
    ],
)
def test_what_is_no_proxy_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ValueError, match="upstream_proxy") as refused:
        Settings(_env_file=None, upstream_proxy=url)
    messages = [one["msg"] for one in refused.value.errors()]  # type: ignore[attr-defined]
    assert url not in str(messages)


def test_a_proxy_needs_tls_to_runcomfy() -> None:
    with pytest.raises(ValueError, match="needs an https upstream_base_url"):
        Settings(_env_file=None, upstream_proxy="http://proxy:3128", upstream_base_url="http://runcomfy")


def test_the_log_hides_the_proxys_password_however_it_is_written() -> None:
    settings = Settings(
        _env_file=None, pepper="x" * 40, environment="development", upstream_proxy="http://a:p%2Fw@b:1"
    )
    assert {"p%2Fw", "p/w"} <= set(settings.secrets())
