"""What an attempt says about its delivery and its endpoint. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

from app.webhooks.deliveries.schedule import GONE_AFTER_MS, MAX_RETRY_AFTER_MS

_GONE: Final = 410
_SLOW_DOWN: Final = frozenset({429, 502, 503, 504})
_BREATHER_MS: Final = 5_000
_MAX_HOLD_MS: Final = 15 * 60_000
_DIGITS: Final = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempted:
    """What came of an attempt: the status of the answer, or the class of the error where there was none.

    `answer` is the first KiB of the answer's body; None where it may not be shown.
    """

    at_ms: int
    ms: int
    status: int | None = None
    error: str | None = None
    answer: str | None = None
    retry_after_ms: int = 0

    @property
    def is_success(self) -> bool:
        """Whether the receiver has the message: any status of success, and no other one."""
        return self.status is not None and 200 <= self.status < 300  # noqa: PLR2004 - HTTP's

    @property
    def is_gone(self) -> bool:
        """Whether the receiver says that it wants no more messages."""
        return self.status == _GONE

    @property
    def wait_ms(self) -> int:
        """How long this delivery has to wait at least, whatever the schedule says."""
        return max(self.retry_after_ms, GONE_AFTER_MS if self.is_gone else 0)

    @property
    def hold_ms(self) -> int:
        """For how long nothing more is sent to the endpoint, because it asked for a pause or needs one.

        It is bounded far below what the delivery itself waits for: one answer must not stop an endpoint for a
        day.
        """
        if self.status not in _SLOW_DOWN:
            return 0
        return min(max(self.retry_after_ms, _BREATHER_MS), _MAX_HOLD_MS)


def retry_after_ms(headers: Mapping[str, str], *, now_ms: int) -> int:
    """Returns the pause that an answer asks for (`Retry-After`: seconds or a date); 0 where it asks for none.

    It is at most a day.
    """
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        asked_ms = int(text[:_DIGITS]) * 1000
    else:
        try:
            moment = parsedate_to_datetime(text)
        except (TypeError, ValueError, IndexError, OverflowError):
            return 0
        at = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        asked_ms = int((at - datetime.fromtimestamp(now_ms / 1000, UTC)).total_seconds() * 1000)
    return min(max(asked_ms, 0), MAX_RETRY_AFTER_MS)
