"""The numbers of what is promised: when attempts are made, how long an answer holds, how large a body is."""

import json

import pytest

from app.webhooks.deliveries import delivery, schedule, sender
from app.webhooks.deliveries.schedule import HOUR_MS, MAX_ATTEMPTS
from app.webhooks.deliveries.verdicts import Attempted
from app.webhooks.kinds import Kind
from app.webhooks.messages import bodies

DAY_MS = 24 * HOUR_MS


def test_attempts_are_those_of_the_standards_example_a_tenth_to_either_side() -> None:
    seconds = [5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400]
    for spread, part in ((0.0, 0.9), (0.5, 1.0), (1.0, 1.1)):
        found = [schedule.next_at_ms(n, now_ms=0, spread=spread) for n in range(1, MAX_ATTEMPTS)]
        assert found == [int(one * 1000 * part) for one in seconds]
    assert schedule.next_at_ms(MAX_ATTEMPTS, now_ms=0, spread=0.5) is None


@pytest.mark.parametrize(
    ("status", "asked_s", "waits_s", "holds_s"),
    [
        (500, 0, 0, 0),
        (503, 0, 0, 5),
        (429, 120, 120, 120),
        (429, 86_400, 86_400, 900),
        (410, 0, 3600, 0),
        (400, 120, 120, 0),
    ],
)
def test_an_answer_holds_its_delivery_for_a_day_and_its_endpoint_for_a_quarter_of_an_hour_at_most(
    status: int, asked_s: int, waits_s: int, holds_s: int
) -> None:
    attempted = Attempted(at_ms=0, ms=1, status=status, retry_after_ms=asked_s * 1000)
    assert (attempted.wait_ms, attempted.hold_ms) == (waits_s * 1000, holds_s * 1000)
    latest_ms = schedule.next_at_ms(1, now_ms=0, retry_after_ms=7 * DAY_MS, spread=0.5)
    assert latest_ms == DAY_MS, "whoever asks for a week is asked again after a day"


def test_an_attempt_takes_15_to_20_seconds_at_most_and_its_lease_outlasts_it() -> None:
    assert 15 <= sender._HEAD_S + sender._ANSWER_S < sender.TIMEOUT_S <= 20
    assert delivery.LEASE_S > sender.TIMEOUT_S + 10, "time to record it"


def test_an_output_that_is_too_large_for_a_body_is_left_out() -> None:
    data = {"request_id": "r"}
    for size, is_told in ((100, True), (bodies.MAX_BYTES, False)):
        body = bodies.with_output(Kind.COMPLETED, data, {"video": "x" * size}, at_ms=0)
        assert (json.loads(body)["data"]["output"] is not None) is is_told
        assert len(body) < bodies.MAX_BYTES
