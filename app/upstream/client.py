"""The HTTP client for RunComfy. It reports evidence and judges nothing."""

import asyncio
import time
from collections import Counter
from contextlib import suppress
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Final, Self
from urllib.parse import quote, urlsplit

from app.egress.tls import system_trust
from app.kit.log import Aside, trace_id_var
from app.kit.meters import Meter, Tally
from app.kit.secrets import same
from app.upstream.answer import Answer
from app.upstream.connection import Connection, Route
from app.upstream.outcomes import Exchange, Sent
from app.upstream.stock import Ahead, Kept

SUBMIT_CAP_BYTES: Final = 65_536  # the answer to a submit has four short fields
_SKEW_EVERY_S: Final = 60.0
_NO_STATUS: Final = 600  # from here on
RESULT_CAP_BYTES: Final = 4_194_304  # lists of URLs; a thousand are 200 KiB


class Upstream:
    """A client for RunComfy, or for its stand-in, with one credential.

    `base_url` has no slash at its end. A deadline is the seconds for a whole call, however slowly its bytes
    come. `proxy` is the URL of an HTTP proxy to reach it through; the environment's is never used. Redirects
    are not followed, and cookies not kept.

    `times` are how long calls took, by what was asked; `statuses` counts their answers by that and the
    status. `skew_s` is how far this machine's clock is ahead of the server's, by a recent answer; None where
    none said.
    """

    def __init__(
        self, *, base_url: str, token: str, read_deadline_s: float, proxy: str | None = None
    ) -> None:
        self.base_url = base_url
        self._token = token
        self._read_deadline_s = read_deadline_s
        to = urlsplit(base_url)
        self._prefix = quote(to.path, safe="/%")
        self._headers = (
            f" HTTP/1.1\r\nHost: {to.netloc.rpartition('@')[2]}\r\nAuthorization: Bearer {token}\r\n"
            # A compressed answer could expand beyond every cap.
            "Accept: application/json\r\nAccept-Encoding: identity\r\nUser-Agent: reelgate\r\n"
        )
        trust = system_trust() if "https:" in f"{base_url} {proxy}" else None
        route = Route(to, trust, None if proxy is None else urlsplit(proxy))
        self._for_submits = Ahead(route.open)
        self._for_reads = Kept(route.open)  # callers limit how many reads there are at a time
        self.times = Meter()
        self.statuses: Tally = Counter()
        self.skew_s: float | None = None
        self._skew_at_s = float("-inf")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections that nobody uses; calls under way go on."""
        self._for_submits.close()
        self._for_reads.close()

    def has_token(self, token: str) -> bool:
        """Returns whether it uses this credential."""
        return same(self._token, token)

    def redact(self, text: str) -> str:
        """Returns the text without our credential, in case RunComfy repeated it."""
        return text.replace(self._token, "[redacted]")

    def expect_submit(self) -> None:
        """Begins to open a connection for a submit that will come in a moment."""
        self._for_submits.begin()

    async def submit(self, model_id: str, body: bytes, *, deadline_s: float) -> Exchange:
        """Sends a job with a POST, once. It is never retried here."""
        began_s = time.perf_counter()
        exchange = await _exchange(
            self._for_submits,
            self._request("POST", f"/v1/models/{model_id}", body, "Content-Type: application/json\r\n"),
            deadline_s=deadline_s,
            cap_bytes=SUBMIT_CAP_BYTES,
        )
        self._note("submit", exchange, began_s)
        return exchange

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
        path = f"/v1/requests/{quote(upstream_request_id, safe='')}/{what}"
        began_s = time.perf_counter()
        exchange = await _exchange(
            self._for_reads,
            self._request(method, path),
            deadline_s=self._read_deadline_s,
            cap_bytes=RESULT_CAP_BYTES,
        )
        self._note(what.partition("?")[0], exchange, began_s)
        return exchange

    def _note(self, what: str, exchange: Exchange, began_s: float) -> None:
        """Counts a call; now and then it compares the clocks."""
        with Aside("counting a call to RunComfy"):
            now_s = time.perf_counter()
            self.times.of(what).note(now_s - began_s, trace_id_var.get())
            self.statuses[what, _label_of(exchange.status)] += 1
            date = exchange.headers.get("date")
            if date is not None and now_s - self._skew_at_s >= _SKEW_EVERY_S:
                self._skew_at_s = now_s
                self.skew_s = time.time() - parsedate_to_datetime(date).timestamp()

    def _request(self, method: str, path: str, body: bytes = b"", headers: str = "") -> bytes:
        length = f"Content-Length: {len(body)}\r\n" if method == "POST" else ""
        return f"{method} {self._prefix}{path}{self._headers}{headers}{length}\r\n".encode() + body


def _label_of(status: int | None) -> str:
    """Returns a status as the value of a label, of which there are few."""
    if status is None:
        return "none"
    return str(status) if HTTPStatus.CONTINUE <= status < _NO_STATUS else "other"


async def _exchange(stock: Ahead | Kept, request: bytes, *, deadline_s: float, cap_bytes: int) -> Exchange:
    """Sends a request on a connection from the stock. Nothing is known to have been sent until it is written.

    From then on any part of it may have arrived, so a connection that breaks is not replaced.
    """
    sent, failure = Sent.NOTHING, "timeout"
    answer = Answer(cap_bytes)
    connection: Connection | None = None
    if deadline_s > 0:
        try:
            async with asyncio.timeout(deadline_s):
                connection = await stock.take()  # alive: nothing else happens before it is written to
                sent = Sent.BODY
                await connection.send(request, answer)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not answer.complete or task is None:
                raise
            task.cancel()  # once more, when the answer is in the caller's hands: it may be a paid job's
        except Exception as error:  # noqa: BLE001 - whatever it is, what was sent and received is evidence
            failure = "timeout" if isinstance(error, TimeoutError) else type(error).__name__
        finally:
            if connection is not None:
                with suppress(Exception):  # the answer, if there is one, matters more
                    stock.give_back(connection, answer)
    failure = "" if answer.complete else answer.failure or failure
    return Exchange(sent, answer.status, answer.headers, bytes(answer.body), answer.complete, failure)
