"""One attempt: a message is signed and sent, and the first KiB of the answer is read.

The address of the receiver is judged at every attempt, since a name may change its mind between two
(`app.egress`). A redirect is a failure. What a receiver answers is shown to its tenant only where the address
is public, or is one that the operator named.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from app.egress.client import Egress, EgressError, Reach
from app.kit.clock import Clock
from app.kit.log import get_logger
from app.webhooks.deliveries import signing
from app.webhooks.deliveries.claims import Claimed
from app.webhooks.deliveries.records import MISSING, UNREADABLE
from app.webhooks.deliveries.verdicts import Attempted, retry_after_ms
from app.webhooks.kinds import OPERATOR_ENDPOINT
from app.webhooks.registry import secrets
from app.webhooks.registry.secrets import Unreadable

_log = get_logger("webhooks")
TIMEOUT_S: Final = 20.0
_HEAD_S: Final = 17.0
_ANSWER_S: Final = 2.0
KEPT_BYTES: Final = 1_024
_TIMEOUT: Final = "timeout"
_OUT_OF_REACH: Final = "unreachable"
_CANDID: Final = frozenset({"bad_url", "plain_http", "certificate"})
_CONTENT: Final = "application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnEndpoint:
    """The operator's own endpoint, which the settings name, and not the database."""

    url: str
    secret: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """Sends messages. `keys` open the endpoints' secrets, the present one first."""

    egress: Egress
    clock: Clock
    reach: Reach
    operator_reach: Reach
    keys: Sequence[str]
    own: OwnEndpoint | None = None

    async def attempt(self, claimed: Claimed) -> Attempted:
        """Makes an attempt: within `TIMEOUT_S` seconds, the last of them for the body of the answer."""
        at_ms, began_s = self.clock.now_ms(), time.monotonic()

        def ended(**what: Any) -> Attempted:
            ms = int((time.monotonic() - began_s) * 1000)
            return Attempted(at_ms=at_ms, ms=ms, **what)

        if claimed.body is None:
            return ended(error=MISSING)
        try:
            opened = self._secrets(claimed)
        except Unreadable as error:
            _log.error(
                "The secret of a webhook endpoint cannot be read, so nothing is sent to it.",
                endpoint=claimed.endpoint_id,
                tenant=claimed.tenant_id,
                reason=str(error),
            )
            return ended(error=UNREADABLE)
        body = claimed.body.encode()
        headers = signing.headers(
            claimed.message_id, at_s=at_ms // 1000, body=body, scheme=claimed.scheme, secrets=opened
        )
        headers["Content-Type"] = _CONTENT
        url, reach = self._place(claimed)
        try:
            posted = await self.egress.post(
                url, reach, body, headers, within_s=_HEAD_S, kept_bytes=KEPT_BYTES, body_s=_ANSWER_S
            )
        except TimeoutError:
            return ended(error=_TIMEOUT)
        except EgressError as error:
            return ended(error=self._class_of(error, claimed))
        return ended(
            status=posted.status,
            answer=_as_text(posted.body) if posted.candid else None,
            retry_after_ms=retry_after_ms(posted.headers, now_ms=self.clock.now_ms()),
        )

    def _place(self, claimed: Claimed) -> tuple[str, Reach]:
        """Returns where to send to, and what may be reached."""
        if claimed.endpoint_id == OPERATOR_ENDPOINT and self.own is not None:
            return self.own.url, self.operator_reach
        return claimed.url, self.reach

    def _secrets(self, claimed: Claimed) -> list[bytes]:
        """Returns the endpoint's secrets. The previous one may have become unreadable, which ends it."""
        if claimed.endpoint_id == OPERATOR_ENDPOINT:
            if self.own is None:
                raise Unreadable("the settings name no endpoint of the operator's any more.")
            return [self.own.secret]
        newest, *former = claimed.secrets
        opened = [secrets.open(newest, self.keys, bound_to=claimed.endpoint_id)]
        for one in former:
            try:
                opened.append(secrets.open(one, self.keys, bound_to=claimed.endpoint_id))
            except Unreadable as error:
                _log.warning(
                    "The previous secret of a webhook endpoint cannot be read.",
                    endpoint=claimed.endpoint_id,
                    reason=str(error),
                )
        return opened

    def _class_of(self, error: EgressError, claimed: Claimed) -> str:
        """Returns the class of an error as the tenant may know it; the reason itself is in the log.

        A tenant must not find out by our answers which names and addresses our own networks have.
        """
        _log.warning(
            "A webhook could not be sent.",
            endpoint=claimed.endpoint_id,
            tenant=claimed.tenant_id,
            delivery=claimed.id,
            reason=error.reason,
        )
        return error.reason[:40] if error.candid or error.reason in _CANDID else _OUT_OF_REACH


def _as_text(answer: bytes) -> str:
    """Returns the first KiB of an answer as text that can be stored."""
    return answer.decode("utf-8", "replace").replace("\0", "\ufffd")
