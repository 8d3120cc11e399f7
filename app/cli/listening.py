"""`reelgate webhooks listen`: for development. Asks for a tenant's events, and forwards them signed.

The events come over HTTP, by the tenant's own key, so that the gateway may be on another machine and need not
be able to reach this one.
"""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from app.webhooks.deliveries import signing

if TYPE_CHECKING:
    import httpx2

_PAUSE_S: Final = 1.0
_MAX_PAUSE_S: Final = 15.0
_TIMEOUT_S: Final = 15.0
_AT_ONCE: Final = 50
_TRIES_AFTER_S: Final = (1.0, 5.0)
_TOO_MANY: Final = 429
_SERVERS_FAULT: Final = 500


class ListenError(Exception):
    """Events cannot be asked for; the message says why, and asking again does not help."""


@dataclass(slots=True, kw_only=True)
class Listener:
    """Forwards the events of the tenant whose `key` it has, from the gateway at `url` to `forward_to`."""

    url: str
    key: str = field(repr=False)
    forward_to: str
    secret: bytes = field(repr=False)
    say: Callable[[str], None]
    sleep: Callable[[float], None] = time.sleep

    def run(self, client: "httpx2.Client", *, replay: int) -> None:
        """Forwards the last `replay` events, and then each that comes, until it is interrupted.

        Raises:
            ListenError: the gateway refuses the key.

        """
        after: int | None = -replay if replay else None
        failures = 0
        while True:
            page = self._page(client, after)
            if page is None:
                failures += 1
                self.sleep(min(_PAUSE_S * 2**failures, _MAX_PAUSE_S))
                continue
            if failures:
                self.say(f"{self.url} answers again.")
            failures = 0
            for message in page["messages"]:
                self._forward(client, message)
            has_moved, after = page["last_event_number"] != after, page["last_event_number"]
            if not page["messages"] or not has_moved:
                self.sleep(_PAUSE_S)

    def _page(self, client: "httpx2.Client", after: int | None) -> Mapping[str, Any] | None:
        """Returns the next events; None where the gateway cannot answer now."""
        import httpx2  # noqa: PLC0415 - other commands do without it

        query: dict[str, int] = {"limit": _AT_ONCE} | ({} if after is None else {"after_event": after})
        headers = {"Authorization": f"Bearer {self.key}"}
        try:
            answer = client.get(f"{self.url}/v1/webhooks/messages", params=query, headers=headers)
        except httpx2.TransportError as error:
            self.say(f"{self.url} cannot be reached ({error}); trying again.")
            return None
        if answer.status_code == _TOO_MANY or answer.status_code >= _SERVERS_FAULT:
            self.say(f"{self.url} answers {answer.status_code}; trying again.")
            return None
        try:
            document: dict[str, Any] = answer.json()
        except ValueError:
            document = {}
        if not answer.is_success or "messages" not in document:
            detail = document.get("detail") or f"HTTP {answer.status_code}"
            raise ListenError(f"{self.url} refuses: {detail}")
        return document

    def _forward(self, client: "httpx2.Client", message: Mapping[str, Any]) -> None:
        """Sends an event on, three times at most, and says what was answered."""
        for pause_s in (*_TRIES_AFTER_S, None):
            answered, is_success = self._attempt(client, message)
            clock = datetime.now().astimezone().strftime("%H:%M:%S")
            request_id = message["payload"]["data"].get("request_id", "")
            self.say(f"{clock}  {message['type']:18}  {request_id}  {message['message_id']}  -> {answered}")
            if is_success or pause_s is None:
                return
            self.sleep(pause_s)

    def _attempt(self, client: "httpx2.Client", message: Mapping[str, Any]) -> tuple[str, bool]:
        import httpx2  # noqa: PLC0415 - as above

        body = json.dumps(message["payload"], ensure_ascii=False, separators=(",", ":")).encode()
        headers = signing.headers(
            message["message_id"], at_s=int(time.time()), body=body, scheme="v1", secrets=[self.secret]
        )
        headers["Content-Type"] = "application/json"
        try:
            answer = client.post(self.forward_to, content=body, headers=headers)
        except httpx2.TransportError as error:
            return f"{type(error).__name__} ({error})", False
        return str(answer.status_code), answer.is_success


def listen(listener: Listener, *, replay: int) -> None:
    """Runs a listener until it is interrupted.

    Raises:
        ListenError: the gateway refuses the key.

    """
    import httpx2  # noqa: PLC0415 - as above

    with httpx2.Client(timeout=_TIMEOUT_S, trust_env=False) as client:
        listener.run(client, replay=replay)
