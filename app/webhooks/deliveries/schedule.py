"""When a delivery is attempted again, and when its endpoint is given up. Pure.

The schedule is the example of Standard Webhooks 1.0.0: ten attempts in 75.6 hours.
"""

from typing import Final

_SECOND_MS: Final = 1_000
_MINUTE_MS: Final = 60_000
HOUR_MS: Final = 3_600_000
DELAYS_MS: Final = (
    5 * _SECOND_MS,
    5 * _MINUTE_MS,
    30 * _MINUTE_MS,
    2 * HOUR_MS,
    5 * HOUR_MS,
    10 * HOUR_MS,
    14 * HOUR_MS,
    20 * HOUR_MS,
    24 * HOUR_MS,
)
"""The pauses between attempts; the first attempt is made at once."""
MAX_ATTEMPTS: Final = len(DELAYS_MS) + 1
JITTER: Final = 0.1
MAX_RETRY_AFTER_MS: Final = 24 * HOUR_MS
GONE_AFTER_MS: Final = HOUR_MS
"""An endpoint is gone when a second 410 follows the first after this time, and no other answer between."""
DISABLED_AFTER_MS: Final = 5 * 24 * HOUR_MS
"""An endpoint is disabled when it has failed for this time, and at least twice."""


def next_at_ms(attempts: int, *, now_ms: int, retry_after_ms: int = 0, spread: float) -> int | None:
    """Returns when the attempt after this many is made; None where there is none.

    `spread` is a random number from 0 to 1, by which attempts that failed together are taken apart: by up to
    a tenth to either side. What the receiver asked for is honoured up to a day.
    """
    if attempts >= MAX_ATTEMPTS:
        return None
    delay_ms = DELAYS_MS[max(attempts, 1) - 1]
    jittered_ms = int(delay_ms * (1 + JITTER * (2 * spread - 1)))
    return now_ms + max(jittered_ms, min(retry_after_ms, MAX_RETRY_AFTER_MS))
