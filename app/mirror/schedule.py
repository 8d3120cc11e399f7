"""When a file is copied again after a failure, and when it is given up. Pure."""

from dataclasses import dataclass
from typing import Final

from app.db.schema.asset_states import AssetState

_SECOND_MS: Final = 1_000
_MINUTE_MS: Final = 60_000
HOUR_MS: Final = 3_600_000
DELAYS_MS: Final = (10 * _SECOND_MS, _MINUTE_MS, 5 * _MINUTE_MS, 30 * _MINUTE_MS, 2 * HOUR_MS)
"""The pauses after the first attempts, of which the first one is made at once. The last pause is repeated
for as long as RunComfy's link is taken to be alive."""
JITTER: Final = 0.1

INTERRUPTED: Final = "interrupted"
"""The error of an attempt whose server died or was stopped before it knew the outcome."""
EXPIRED_LINK: Final = "link_expired"
OUTPUT_ERASED: Final = "output_erased"
TOO_LARGE: Final = "too_large"
FORBIDDEN_HOST: Final = "forbidden_host"
NOT_MEDIA: Final = "not_media"
TRUNCATED: Final = "truncated"
STORAGE: Final = "storage_unavailable"
TIMEOUT: Final = "timeout"
INTERNAL: Final = "internal"
QUOTA: Final = "quota_exhausted"
"""The error of a copy that does not fit into a limit on stored bytes."""
GONE_STATUSES: Final = frozenset({403, 404, 410})
"""What a server answers to a link that has ended, or that it does not know yet."""

_NEVER: Final = frozenset({TOO_LARGE, FORBIDDEN_HOST, "bad_url", "plain_http", "redirect_from_tls"})
_ENDED: Final = frozenset({f"status_{one}" for one in GONE_STATUSES})


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of an asset after an attempt that failed: `next_at_ms` is set where it is copied again."""

    state: AssetState
    error: str
    next_at_ms: int | None = None


def verdict(
    error: str, *, attempts: int, created_at_ms: int, link_life_ms: int, now_ms: int, spread: float
) -> Verdict:
    """Decides after this many attempts, the last of which ended with this class of error.

    What cannot become better ends at once. A file that is no picture and no video, or a link that RunComfy
    refuses, is tried to the end of the schedule, because its servers may be late; everything else until the
    link's life has ended. `spread` is a random number from 0 to 1, by which attempts that failed together
    are taken apart.
    """
    if error == OUTPUT_ERASED:
        return Verdict(AssetState.GONE, error)
    if error in _NEVER:
        return Verdict(AssetState.FAILED, error)
    is_through = attempts > len(DELAYS_MS)
    if is_through and error == NOT_MEDIA:
        return Verdict(AssetState.FAILED, error)
    if is_through and error in _ENDED:
        return Verdict(AssetState.GONE, error)
    delay_ms = DELAYS_MS[min(max(attempts, 1), len(DELAYS_MS)) - 1]
    next_at_ms = now_ms + int(delay_ms * (1 + JITTER * (2 * spread - 1)))
    if next_at_ms >= created_at_ms + link_life_ms:
        return Verdict(AssetState.GONE, error if error in _ENDED or error == QUOTA else EXPIRED_LINK)
    return Verdict(AssetState.PENDING, error, next_at_ms)
