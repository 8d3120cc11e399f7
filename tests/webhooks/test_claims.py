"""Who is sent to next: whoever is due, within the caps, in turns; in as many steps however many wait."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, create_engine, insert, select, update
from sqlalchemy.pool import NullPool

from app.auth import tenants
from app.db.engines.engine import sync_url
from app.db.schema.tables import webhook_attempts, webhook_deliveries, webhook_endpoints, webhook_messages
from app.webhooks.deliveries import claims, records
from app.webhooks.deliveries.claims import Caps, Claim
from app.webhooks.deliveries.verdicts import Attempted
from app.webhooks.kinds import Kind
from app.webhooks.messages import outbox
from app.webhooks.messages.outbox import Message
from tests.webhooks.receiver import add_endpoint

NOW_MS = 1_790_000_000_000
CAPS = Caps(per_endpoint=4, per_tenant=6)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = create_engine(sync_url(database_url), poolclass=NullPool)
    yield engine
    engine.dispose()


def claim(connection: Connection, *, limit: int = 64, now_ms: int = NOW_MS, caps: Caps = CAPS) -> Claim:
    found = claims.claim(connection, caps, limit=limit, now_ms=now_ms, lease_until_ms=now_ms + 35_000)
    assert found is not None
    return found


def waiting(connection: Connection, tenant: str, endpoint: str, count: int, *, due_ms: int = NOW_MS) -> None:
    """So many deliveries of one message that wait for an endpoint."""
    message = Message(id=f"msg_{endpoint}", tenant_id=tenant, mode="test", kind=Kind.COMPLETED, at_ms=NOW_MS)
    if (
        connection.execute(select(webhook_messages.c.id).where(webhook_messages.c.id == message.id)).first()
        is None
    ):
        outbox.write(connection, message, outbox.Bodies("{}"), [])
    rows = [
        outbox.delivery_of(message, endpoint, now_ms=NOW_MS) | {"next_at_ms": due_ms - n}
        for n in range(count)
    ]
    connection.execute(insert(webhook_deliveries), rows)


def a_tenant(connection: Connection, name: str, endpoints: int = 1) -> tuple[str, list[str]]:
    tenant = tenants.create(connection, name, now_ms=NOW_MS)
    made = [add_endpoint(connection, tenant.id, "https://example.com/hook") for _ in range(endpoints)]
    return tenant.id, [one.id for one in made]


def counts(found: Claim) -> list[int]:
    return sorted(Counter(one.endpoint_id for one in found.deliveries).values())


def test_an_endpoint_and_a_tenant_get_no_more_at_a_time_than_they_may(engine: Engine) -> None:
    with engine.begin() as connection:
        tenant, (first, second) = a_tenant(connection, "crowded", 2)
        waiting(connection, tenant, first, 50, due_ms=NOW_MS - 9000)
        waiting(connection, tenant, second, 50, due_ms=NOW_MS - 100)
        assert counts(claim(connection)) == [3, 3]
        assert counts(claim(connection)) == [], "as many are under way as may be"
        delivering = webhook_deliveries.c.state == "delivering"
        one = select(webhook_deliveries.c.id).where(delivering, webhook_deliveries.c.endpoint_id == first)
        done = connection.execute(one).scalars().all()
        connection.execute(
            update(webhook_deliveries).where(webhook_deliveries.c.id.in_(done)).values(state="delivered")
        )
        assert counts(claim(connection)) == [1, 2], "the second may have four, and the tenant six"


def test_endpoints_that_fail_are_tried_one_at_a_time_and_leave_their_tenant_room(engine: Engine) -> None:
    with engine.begin() as connection:
        tenant, endpoints = a_tenant(connection, "failing", 5)
        for one in endpoints:
            waiting(connection, tenant, one, 10)
        failing = webhook_endpoints.c.id.in_(endpoints[:4])
        connection.execute(update(webhook_endpoints).where(failing).values(failing_since_ms=1))
        found = Counter(one.endpoint_id for one in claim(connection).deliveries)
        assert found == dict.fromkeys(endpoints[:4], 1) | {endpoints[4]: 2}, "six of the tenant in all"


def test_attempts_that_hang_leave_their_tenant_as_much_room_again_and_no_more(engine: Engine) -> None:
    with engine.begin() as connection:
        tenant, endpoints = a_tenant(connection, "hanging", 5)
        for one in endpoints:
            waiting(connection, tenant, one, 40)
        assert len(claim(connection).deliveries) == CAPS.per_tenant
        assert claim(connection, now_ms=NOW_MS + 1999).deliveries == []
        assert len(claim(connection, now_ms=NOW_MS + 2000).deliveries) == CAPS.per_tenant
        assert claim(connection, now_ms=NOW_MS + 4000).deliveries == [], "twice its number"


def test_a_tenants_backlog_holds_up_no_other_tenant(engine: Engine) -> None:
    with engine.begin() as connection:
        big, of_big = a_tenant(connection, "big", 3)
        small, (of_small,) = a_tenant(connection, "small")
        for one in of_big:
            waiting(connection, big, one, 30, due_ms=NOW_MS - 3_600_000)
        waiting(connection, small, of_small, 1, due_ms=NOW_MS)
        found = claim(connection, limit=2)
        assert {one.tenant_id for one in found.deliveries} == {big, small}


def test_what_is_due_later_waits_and_says_when(engine: Engine) -> None:
    with engine.begin() as connection:
        tenant, (endpoint, held) = a_tenant(connection, "later", 2)
        waiting(connection, tenant, endpoint, 1, due_ms=NOW_MS + 5000)
        waiting(connection, tenant, held, 1, due_ms=NOW_MS - 5000)
        connection.execute(
            update(webhook_endpoints)
            .where(webhook_endpoints.c.id == held)
            .values(held_until_ms=NOW_MS + 3000)
        )
        found = claim(connection)
        assert (found.deliveries, found.next_at_ms) == ([], NOW_MS + 3000)
        assert claims.next_due(connection) == NOW_MS + 3000


def test_what_waits_for_a_stopped_endpoint_is_cancelled_and_for_a_paused_one_kept(engine: Engine) -> None:
    with engine.begin() as connection:
        tenant, (stopped, paused, anew) = a_tenant(connection, "stopped", 3)
        for endpoint in (stopped, paused, anew):
            waiting(connection, tenant, endpoint, 9, due_ms=NOW_MS - 4)
        for endpoint, values in (
            (stopped, {"state": "disabled"}),
            (paused, {"state": "paused"}),
            (anew, {"active_from_ms": NOW_MS + 1}),
        ):
            connection.execute(
                update(webhook_endpoints).where(webhook_endpoints.c.id == endpoint).values(values)
            )
        assert claim(connection).deliveries == []
        rows = connection.execute(select(webhook_deliveries.c.endpoint_id, webhook_deliveries.c.state))
        states = {(row.endpoint_id, row.state) for row in rows}
        assert states == {(stopped, "cancelled"), (paused, "pending"), (anew, "cancelled")}


def test_the_previous_secret_signs_after_the_new_one_until_its_grace_ends(engine: Engine) -> None:
    with engine.begin() as connection:
        tenant, (endpoint,) = a_tenant(connection, "rotating")
        waiting(connection, tenant, endpoint, 2)
        values = {"secret": "new", "previous_secret": "old", "previous_until_ms": NOW_MS + 1}
        connection.execute(update(webhook_endpoints).values(values))
        (during,) = claim(connection, limit=1).deliveries
        (after,) = claim(connection, limit=1, now_ms=NOW_MS + 1).deliveries
        assert (during.secrets, after.secrets) == (("new", "old"), ("new",))


def test_what_was_under_way_on_a_server_that_died_is_due_again_as_another_attempt(engine: Engine) -> None:
    with engine.begin() as connection:
        tenant, (endpoint,) = a_tenant(connection, "died")
        waiting(connection, tenant, endpoint, 1)
        (first,) = claim(connection).deliveries
        assert claims.free(connection, now_ms=first.lease_until_ms) == 0
        later_ms = first.lease_until_ms + 1
        assert claims.free(connection, now_ms=later_ms) == 1
        (second,) = claim(connection, now_ms=later_ms).deliveries
        assert (first.id, first.attempt, second.attempt) == (second.id, 1, 2)
        assert [row.error for row in connection.execute(select(webhook_attempts))] == ["interrupted"]
        for _ in range(20):
            later_ms += 40_000
            claims.free(connection, now_ms=later_ms)
            claim(connection, now_ms=later_ms)
        assert connection.execute(select(webhook_deliveries.c.state)).scalar_one() == "failed", "not for ever"


def test_an_attempt_that_is_recorded_after_its_lease_changes_nothing_of_the_next_one(engine: Engine) -> None:
    with engine.begin() as connection:
        tenant, (endpoint,) = a_tenant(connection, "late")
        waiting(connection, tenant, endpoint, 1)
        (first,) = claim(connection).deliveries
        later_ms = first.lease_until_ms + 1
        claims.free(connection, now_ms=later_ms)
        (second,) = claim(connection, now_ms=later_ms).deliveries
        arrived = Attempted(at_ms=NOW_MS, ms=1, status=200)
        assert records.record(connection, first, arrived, now_ms=later_ms).state is None
        assert connection.execute(select(webhook_deliveries.c.state)).scalar_one() == "delivering"
        assert records.record(connection, second, arrived, now_ms=later_ms).state == "delivered"


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_no_two_servers_claim_one_delivery(engine: Engine) -> None:
    with engine.begin() as connection:
        tenant, (endpoint,) = a_tenant(connection, "both")
        waiting(connection, tenant, endpoint, 4)
        claim(connection, limit=1)  # the row of turns is there from the first claim on
    with engine.begin() as one, engine.begin() as other:
        first = claim(one, limit=1)
        kept = claims.claim(other, CAPS, limit=64, now_ms=NOW_MS, lease_until_ms=NOW_MS + 1)
        assert len(first.deliveries) == 1
        assert kept is None, "whose turn it is not does not wait"
    with engine.begin() as connection:
        assert len(claim(connection).deliveries) == 2, "the cap holds for both"


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_claim_takes_as_many_steps_with_forty_times_the_rows(engine: Engine) -> None:
    def steps(connection: Connection) -> int:
        taken = [0]

        def count() -> int:
            taken[0] += 1
            return 0

        raw: Any = connection.connection.dbapi_connection
        raw.set_progress_handler(count, 10)
        claim(connection)
        raw.set_progress_handler(None, 10)
        connection.execute(update(webhook_deliveries).values(state="pending"))
        return taken[0]

    with engine.begin() as connection:
        tenant, endpoints = a_tenant(connection, "crowd", 10)
        for endpoint in endpoints:
            waiting(connection, tenant, endpoint, 10)
        few = steps(connection)
        for endpoint in endpoints:
            waiting(connection, tenant, endpoint, 390, due_ms=NOW_MS - 10_000)
        assert steps(connection) < few * 1.1
