"""What a credential's pool learns from a look at one job."""

from typing import Any

import pytest

from app.upstream.breaker import Condition
from app.upstream.credentials import Credential, Pool
from app.upstream.outcomes import Exchange, Sent, observe_status
from tests.harness import FakeClock


def after_a_look(status: int, body: bytes = b"{}") -> Credential:
    clock = FakeClock()
    nobody: Any = None  # it is not called
    credential = Credential("one", "live", nobody)
    exchange = Exchange(Sent.BODY, status, {}, body, complete=True)
    Pool(clock, [credential]).note_look(credential, exchange, observe_status(exchange))
    assert credential.health.condition(clock.now_ms()) in {Condition.CLOSED, Condition.OPEN}
    return credential


@pytest.mark.parametrize(
    ("status", "body", "may_submit", "may_look"),
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
    status: int, body: bytes, may_submit: bool, may_look: bool
) -> None:
    health = after_a_look(status, body).health
    assert (health.may_submit, health.may_look) == (may_submit, may_look)
