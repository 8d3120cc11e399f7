"""When a file is copied again, and when it is given up."""

import pytest

from app.db.schema.asset_states import AssetState
from app.mirror.schedule import DELAYS_MS, EXPIRED_LINK, HOUR_MS, NOT_MEDIA, Verdict, verdict

LIFE_MS = 7 * 24 * HOUR_MS
THROUGH = len(DELAYS_MS) + 1
PENDING, FAILED, GONE = AssetState.PENDING, AssetState.FAILED, AssetState.GONE


def judged(error: str, attempts: int, *, now_ms: int = 0, life_ms: int = LIFE_MS) -> Verdict:
    return verdict(error, attempts=attempts, created_at_ms=0, link_life_ms=life_ms, now_ms=now_ms, spread=0.5)


def test_the_pauses_grow_and_the_last_one_is_repeated_until_the_links_life_has_ended() -> None:
    now_ms, pauses = 0, []
    for attempts in range(1, 200):
        found = judged("status_503", attempts, now_ms=now_ms)
        if found.next_at_ms is None:
            assert (found.state, found.error) == (GONE, EXPIRED_LINK)
            break
        pauses.append(found.next_at_ms - now_ms)
        now_ms = found.next_at_ms
    assert pauses[:6] == [10_000, 60_000, 300_000, 1_800_000, 7_200_000, 7_200_000]
    assert LIFE_MS - 2 * HOUR_MS <= now_ms < LIFE_MS


@pytest.mark.parametrize(
    ("error", "attempts", "state", "told"),
    [
        ("status_404", 1, PENDING, "status_404"),
        ("status_404", THROUGH, GONE, "status_404"),
        ("status_410", THROUGH, GONE, "status_410"),
        ("status_403", THROUGH, GONE, "status_403"),
        ("status_500", THROUGH, PENDING, "status_500"),
        (NOT_MEDIA, 1, PENDING, NOT_MEDIA),
        (NOT_MEDIA, THROUGH, FAILED, NOT_MEDIA),
        ("truncated", THROUGH, PENDING, "truncated"),
        ("storage_unavailable", THROUGH, PENDING, "storage_unavailable"),
        ("too_large", 1, FAILED, "too_large"),
        ("forbidden_host", 1, FAILED, "forbidden_host"),
        ("output_erased", 1, GONE, "output_erased"),
    ],
)
def test_what_cannot_become_better_ends_and_the_rest_goes_on(
    error: str, attempts: int, state: AssetState, told: str
) -> None:
    found = judged(error, attempts)
    assert (found.state, found.error) == (state, told)
    assert (found.next_at_ms is None) == (state is not PENDING)


def test_attempts_that_failed_together_are_taken_apart_by_a_tenth_at_most() -> None:
    def pause(spread: float) -> int | None:
        return verdict(
            "timeout", attempts=2, created_at_ms=0, link_life_ms=LIFE_MS, now_ms=0, spread=spread
        ).next_at_ms

    assert (pause(0.0), pause(0.5), pause(1.0)) == (54_000, 60_000, 66_000)
