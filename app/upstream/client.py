"""The HTTP client for RunComfy. It reports evidence and judges nothing."""

import asyncio
from http.cookiejar import DefaultCookiePolicy
from typing import Any, Self
from urllib.parse import quote

import httpx2

from app.egress.tls import system_trust
from app.upstream.outcomes import Exchange, Sent

SUBMIT_CAP_BYTES = 65_536  # the answer to a submit has four short fields
RESULT_CAP_BYTES = 4_194_304  # lists of URLs; a thousand are 200 KiB


class Upstream:
    """A client for RunComfy, or for its stand-in, with one credential.

    `base_url` has no slash at its end. A deadline is the seconds for a whole call, however slowly its bytes
    come. `proxy` is the URL of an HTTP proxy to reach it through; the environment's is never used.
    """

    def __init__(
        self, *, base_url: str, token: str, read_deadline_s: float, proxy: str | None = None
    ) -> None:
        self.base_url = base_url
        self._token = token
        self._read_deadline_s = read_deadline_s
        # Each submit gets a new connection: on a reused one, RunComfy might close it while our body is on its
        # way, an unknown outcome that can be avoided.
        self._submits = _client(base_url, token, httpx2.Limits(max_keepalive_connections=0), proxy)
        # Callers limit how many reads there are at a time.
        self._reads = _client(
            base_url, token, httpx2.Limits(max_connections=None, max_keepalive_connections=50), proxy
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._submits.aclose()
        await self._reads.aclose()

    def redact(self, text: str) -> str:
        """Returns the text without our credential, in case RunComfy repeated it."""
        return text.replace(self._token, "[redacted]")

    async def submit(self, model_id: str, body: bytes, *, deadline_s: float) -> Exchange:
        """Sends a job with a POST, once. It is never retried here."""
        return await _exchange(
            self._submits,
            "POST",
            f"/v1/models/{model_id}",
            content=body,
            deadline_s=deadline_s,
            cap_bytes=SUBMIT_CAP_BYTES,
        )

    async def status(self, upstream_request_id: str) -> Exchange:
        """Gets a job's status."""
        return await self._read(upstream_request_id, "status")

    async def result(self, upstream_request_id: str) -> Exchange:
        """Gets a job's result, with its cost where RunComfy names one."""
        return await self._read(upstream_request_id, "result?include_cost=true")

    async def cancel(self, upstream_request_id: str) -> Exchange:
        """Sends a cancel with a POST, which is harmless to repeat."""
        return await self._read(upstream_request_id, "cancel", method="POST")

    async def _read(self, upstream_request_id: str, what: str, *, method: str = "GET") -> Exchange:
        return await _exchange(
            self._reads,
            method,
            f"/v1/requests/{quote(upstream_request_id, safe='')}/{what}",
            content=None,
            deadline_s=self._read_deadline_s,
            cap_bytes=RESULT_CAP_BYTES,
        )


def _client(base_url: str, token: str, limits: httpx2.Limits, proxy: str | None) -> httpx2.AsyncClient:
    client = httpx2.AsyncClient(
        base_url=base_url,
        headers={
            "Authorization": f"Bearer {token}",
            "Accept": "application/json",
            # A compressed answer could expand beyond every cap.
            "Accept-Encoding": "identity",
            "User-Agent": "reelgate",
        },
        limits=limits,
        verify=system_trust(),
        timeout=None,  # the deadline covers the whole call
        follow_redirects=False,
        trust_env=False,
        proxy=None if proxy is None else _proxy(proxy),
    )
    # A cookie from one tenant's answer must not be sent with the next tenant's request.
    client.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    return client


def _proxy(url: str) -> httpx2.Proxy:
    to_it = system_trust() if url.startswith("https:") else None  # the library refuses one that is not needed
    return httpx2.Proxy(url, ssl_context=to_it)


class _Sending:
    """How much of a request was sent: exception types do not tell, the events of its trace do."""

    def __init__(self) -> None:
        self.sent = Sent.NOTHING

    async def note(self, name: str, info: dict[str, Any]) -> None:
        """Takes an event of the trace."""
        if "request" in info and info["request"].method == b"CONNECT":
            return  # to the proxy: nothing of ours goes out before it has answered
        if name == "http11.send_request_headers.started":
            self.sent = Sent.HEADERS
        elif name == "http11.send_request_body.started":
            self.sent = Sent.BODY


async def _exchange(
    client: httpx2.AsyncClient,
    method: str,
    path: str,
    *,
    content: bytes | None,
    deadline_s: float,
    cap_bytes: int,
) -> Exchange:
    if deadline_s <= 0:
        return Exchange(Sent.NOTHING, failure="timeout")
    sending = _Sending()
    status: int | None = None
    headers: dict[str, str] = {}
    body = bytearray()
    complete = False
    failure = ""

    request_headers = {"Content-Type": "application/json"} if content is not None else {}
    try:
        async with (
            asyncio.timeout(deadline_s),
            client.stream(
                method, path, content=content, headers=request_headers, extensions={"trace": sending.note}
            ) as response,
        ):
            status = response.status_code
            headers = {name.lower(): value for name, value in response.headers.items()}
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > cap_bytes:
                    failure = "too_large"
                    break
            else:
                complete = True
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if not complete or task is None:
            raise
        task.cancel()  # once more, when the answer is in the caller's hands: it may be a paid job's
    except Exception as error:  # noqa: BLE001 - whatever it is, what was sent and received is evidence
        failure = "timeout" if isinstance(error, TimeoutError) else type(error).__name__
    return Exchange(sending.sent, status, headers, bytes(body), complete, failure)
