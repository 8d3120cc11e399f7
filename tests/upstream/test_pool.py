"""What a credential's pool learns from a look at one job."""

from typing import Any

import pytest

from app.upstream.breaker import Condition
from app.upstream.capacity import Capacity
from app.upstream.credentials import Credential, Pool
from app.upstream.outcomes import Exchange, Sent, observe_status
from tests.harness import FakeClock


def after_a_look(status: int, body: bytes = b"{}") -> Credential:
    clock = FakeClock()
    nobody: Any = None  # it is not called
    credential = Credential("one", "live", nobody)
    exchange = Exchange(Sent.BODY, status, {}, body, complete=True)
    Pool(clock, [credential]).record_poll(credential, exchange, observe_status(exchange))
    assert credential.health.condition(clock.now_ms()) in {Condition.CLOSED, Condition.OPEN}
    return credential


@pytest.mark.parametrize(
    ("status", "body", "may_submit", "may_poll"),
    [
        (401, b"{}", False, False),
        (400, b'{"error_code": 400004}', False, False),
        (402, b"{}", False, True),
        (429, b"{}", False, False),
        (403, b'{"error_code": 403001}', True, True),
        (404, b"{}", True, True),
        (500, b"{}", True, True),
        (200, b'{"status": "in_progress"}', True, True),
    ],
)
def test_what_is_wrong_with_one_job_holds_nobody_up(
    status: int, body: bytes, may_submit: bool, may_poll: bool
) -> None:
    health = after_a_look(status, body).health
    assert (health.may_submit, health.may_poll) == (may_submit, may_poll)


def test_whoever_looks_whose_turn_it_is_takes_no_turn() -> None:
    nobody: Any = None  # it is not called
    pool = Pool(FakeClock(), [Credential("a", "live", nobody, weight=2), Credential("b", "live", nobody)])
    order = []
    for _ in range(30):
        first = [pool.by_weight("live")[0].name for _ in range(3)]
        assert len(set(first)) == 1
        pool.record_use("live", first[0])
        order.append(first[0])
    assert (order.count("a"), order.count("b")) == (20, 10)
    assert "aaa" not in "".join(order)


@pytest.mark.parametrize(
    ("after_s", "room"), [(0, 3), (299, 3), (300, 4), (1500, 8), (1799, 8), (1800, None), (-1, None)]
)
def test_what_was_learnt_of_a_capacity_grows_and_is_forgotten(after_s: int, room: int | None) -> None:
    nobody: Any = None  # it is not called
    learnt = Capacity(3, 1_000_000)
    now_ms = 1_000_000 + after_s * 1000
    assert learnt.at(now_ms) == room
    assert Credential("a", "live", nobody, capacity=learnt).room(now_ms) == room
    assert Credential("a", "live", nobody, concurrency=2, capacity=learnt).room(now_ms) == 2
