# Made from `_async` by `python -m tools.client_sync`: change that.
"""Calls to the server, made again where that is safe."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from typing import Any

import httpx2

from reelgate_client._primitives_sync import sleep
from reelgate_client._retry import Patience, Retries
from reelgate_client._wire import (
    TRACE,
    Call,
    is_ambiguous,
    is_of_the_first,
    may_repeat,
    refusal_in,
    user_agent,
    was_sent,
)
from reelgate_client.errors import OutcomeUnknown, ReelgateError, Unreachable

_CONNECT_S = 10.0
_NOT_JSON = {"detail": "The answer broke off."}


class Calls:
    """One server, and who calls it."""

    def __init__(
        self, base_url: str, api_key: str, http: httpx2.Client, retries: Retries, timeout_s: float
    ) -> None:
        self.base_url = base_url
        self.retries = retries
        self.timeout_s = timeout_s
        self.is_gateway: bool | None = None
        """Whether the server is a gateway; None until it has answered."""
        self._http = http
        self._headers = {
            "Authorization": f"Bearer {api_key}",
            "User-Agent": user_agent(),
            "Accept": "application/json",
        }

    def document(self, call: Call, *, retries: Retries | None = None) -> Any:
        """Returns the document that a call answers with, after as many tries as are safe and allowed."""
        return (self.answer(call, retries=retries)).json()

    def answer(self, call: Call, *, retries: Retries | None = None) -> httpx2.Response:
        """Returns the answer itself, which is complete; it can be a 304.

        Raises:
            OutcomeUnknown: a submit may have been carried out, and no try has told.

        """
        patience = Patience(retries or self.retries, time.monotonic())
        doubt: ReelgateError | None = None
        while True:
            try:
                return self.once(call)
            except ReelgateError as error:
                if call.is_keyed and is_ambiguous(error):
                    doubt = error
                    self._ask_who_it_is()
                error.retryable = may_repeat(error, call, is_gateway=self.is_gateway is True)
                try:
                    delay_s = patience.delay_after(error, time.monotonic())
                except ReelgateError:
                    if doubt is None or is_of_the_first(error):
                        raise
                    raise self._unknown(call, error) from doubt
            sleep(delay_s)

    def once(self, call: Call) -> httpx2.Response:
        """Returns the answer to one try."""
        try:
            answer = self._http.send(self._request(call))
        except httpx2.TransportError as error:
            raise _unreachable(error, call) from error
        except httpx2.DecodingError as error:
            raise Unreachable(_NOT_JSON) from error
        self._notice(answer, call)
        refused = refusal_in(answer, call, datetime.now(timezone.utc))
        if refused is not None:
            raise refused
        return answer

    @contextmanager
    def stream(self, call: Call, silence_s: float) -> Generator[httpx2.Response]:
        """Opens an answer that has no end yet; it breaks off after some seconds of silence."""
        try:
            answer = self._http.send(self._request(call, silence_s), stream=True)
        except httpx2.TransportError as error:
            raise _unreachable(error, call) from error
        try:
            self._notice(answer, call)
            kind = answer.headers.get("content-type", "").partition(";")[0].strip()
            if answer.status_code != httpx2.codes.NO_CONTENT and kind != "text/event-stream":
                answer.read()
                refused = refusal_in(answer, call, datetime.now(timezone.utc))
                raise refused or Unreachable(
                    {"detail": f"No event stream came, but {kind}.", "retryable": True}
                )
            yield answer
        except httpx2.TransportError as error:
            raise _unreachable(error, call) from error
        finally:
            answer.close()

    def _request(self, call: Call, timeout_s: float | None = None) -> httpx2.Request:
        content: dict[str, Any] = {}
        if call.content is not None:
            content = {"content": call.content()}
        elif call.method not in {"GET", "DELETE"}:
            content = {"json": {} if call.document is None else call.document}
        seconds = timeout_s or call.timeout_s or self.timeout_s
        return self._http.build_request(
            call.method,
            self.base_url + call.path,
            params=httpx2.QueryParams(call.params) if call.params else None,
            headers={**self._headers, **call.headers},
            timeout=httpx2.Timeout(seconds, connect=min(_CONNECT_S, seconds)),
            **content,
        )

    def _notice(self, answer: httpx2.Response, call: Call) -> None:
        if TRACE in answer.headers:
            self.is_gateway = True
        elif self.is_gateway is None and answer.is_success and call.path.startswith("/v1/"):
            self.is_gateway = False

    def _ask_who_it_is(self) -> None:
        """Finds out whether the server is a gateway, which makes one request of any number of tries."""
        if self.is_gateway is not None:
            return
        with suppress(ReelgateError):  # a refusal tells as well, and without any answer nothing is repeated
            self.answer(Call("GET", "/livez"))
        self.is_gateway = self.is_gateway is True

    def _unknown(self, call: Call, error: ReelgateError) -> OutcomeUnknown:
        document = {
            "detail": f"{error.detail} The submit may have been accepted all the same.",
            "remedy": "Look whether it was before you submit it again.",
        }
        made = OutcomeUnknown(document, status=error.status)
        if self.is_gateway:
            made.idempotency_key = call.headers["Idempotency-Key"]
            made.remedy = (
                "Submit it again with the same idempotency_key: it is answered with what became of it."
            )
        return made


def _unreachable(error: httpx2.TransportError, call: Call) -> Unreachable:
    named = f"{type(error).__name__}: {error}".rstrip(": ")
    made = Unreachable(
        {
            "detail": f"The server could not be reached, or broke off ({named}).",
            "request_id": call.request_id,
        }
    )
    made.maybe_sent = was_sent(error)
    return made
