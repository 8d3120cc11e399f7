"""The operator finds requests by any filter: by an index, or in bounded steps that say where to go on."""

from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Connection, event

from app.admin.running import requests
from app.admin.running.requests import RequestFilter
from app.auth.callers import Caller
from app.db.engines.engine import Database
from app.errors import INVALID_PARAMETER, Problem
from app.generations import search as searching
from app.generations import store
from app.generations.advance import advance
from app.generations.lifecycle import State
from app.generations.search import Filters, search
from tests.harness import World
from tests.rows import NOW_MS, add_generation, add_owner

pytestmark = pytest.mark.anyio

ERROR = {"code": "upstream_rejected", "message": "no"}


def fill(connection: Connection) -> tuple[list[str], str, str]:
    """Two tenants with six requests each, in turn; returns the ids, newest first, a tenant and its key."""
    owners = [add_owner(connection), add_owner(connection)]
    ids = []
    for number in range(12):
        caller = Caller("198.51.100.7" if number % 3 else "203.0.113.0/24", "curl/8")
        made = add_generation(connection, owner=owners[number % 2], now_ms=NOW_MS + number, caller=caller)
        if number in {2, 5}:
            advance(connection, made.id, State.REJECTED, reason="x", now_ms=NOW_MS + 50, error=ERROR)
        if number in {4, 9}:
            advance(connection, made.id, State.UNKNOWN, reason="x", now_ms=NOW_MS + 50)
        if number == 6:
            advance(
                connection, made.id, State.IN_QUEUE, reason="x", now_ms=NOW_MS, upstream_request_id="job-6"
            )
        ids.append(made.id)
    return ids[::-1], owners[0][0], owners[0][1]


async def test_each_filter_finds_its_requests_in_pages_of_any_size(db: Database) -> None:
    ids, tenant_id, kid = await db.write(fill)
    numbered = {request_id: 11 - place for place, request_id in enumerate(ids)}
    wanted: list[tuple[dict[str, Any], set[int]]] = [
        ({}, set(range(12))),
        ({"tenant_id": tenant_id}, {0, 2, 4, 6, 8, 10}),
        ({"kid": kid}, {0, 2, 4, 6, 8, 10}),
        ({"request_id": ids[3]}, {8}),
        ({"upstream_request_id": "job-6"}, {6}),
        ({"state": State.UNKNOWN}, {4, 9}),
        ({"state": State.REJECTED}, {2, 5}),
        ({"state": State.DISPATCHING, "tenant_id": tenant_id}, {0, 8, 10}),
        ({"error_code": "upstream_rejected"}, {2, 5}),
        ({"error_code": "upstream_rejected", "kid": kid}, {2}),
        ({"address": "198.51.100.7"}, {1, 2, 4, 5, 7, 8, 10, 11}),
        ({"address": "203.0.113.99", "tenant_id": tenant_id}, {0, 6}),
        ({"model_id": "a/b", "from_ms": NOW_MS + 3, "before_ms": NOW_MS + 6}, {3, 4, 5}),
        ({"tenant_id": tenant_id, "from_ms": NOW_MS + 3, "before_ms": NOW_MS + 7}, {4, 6}),
        ({"price_version": "1", "mode": "test", "state": State.IN_QUEUE}, {6}),
        ({"mode": "live"}, set()),
        ({"token_id": "none", "tenant_id": tenant_id}, set()),
        ({"kid": "not\0storable"}, set()),
    ]
    for filters, expected in wanted:
        for limit in (1, 2, 20):
            found, before, pages = [], None, 0
            while True:
                page = await db.read(search, Filters(**filters), before=before, limit=limit)
                found += [numbered[one.id] for one in page.rows]
                assert len(page.rows) <= limit
                before, pages = page.before, pages + 1
                if before is None:
                    break
            assert found == sorted(expected, reverse=True), (filters, limit)
            assert pages <= len(expected) // limit + 2


async def test_a_rare_request_is_found_in_steps_of_a_bounded_number_of_rows_and_statements(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids, _, _ = await db.write(fill)
    for state in (State.IN_PROGRESS, State.COMPLETED):
        await db.write(advance, ids[5], state, reason="x", now_ms=NOW_MS + 99)
    monkeypatch.setattr(searching, "STEP", 4)
    seen: list[str] = []

    def counted(connection: Connection, before: str | None) -> tuple[searching.Found, int]:
        def note(*arguments: Any) -> None:
            seen.append(arguments[2])

        seen.clear()
        event.listen(connection, "before_cursor_execute", note)
        try:
            wanted = Filters(state=State.COMPLETED, price_version="1")
            return search(connection, wanted, before=before, limit=5), len(seen)
        finally:
            event.remove(connection, "before_cursor_execute", note)

    steps: list[list[str]] = []
    before: str | None = None
    while not steps or before is not None:
        found, statements = await db.read(counted, before)
        assert statements <= 3
        steps.append([one.id for one in found.rows])
        before = found.before
    assert steps == [[], [ids[5]], [], []]


async def test_the_operator_searches_by_names_and_is_told_what_is_no_address(world: World) -> None:
    made = await world.submitted()
    gateway = world.gateway
    row = await gateway.db.read(store.find, made, None)
    assert row is not None
    for wanted in (
        RequestFilter(kid=row.kid),
        RequestFilter(request_id=made),
        RequestFilter(created_after=datetime(2020, 1, 1, tzinfo=UTC)),
    ):
        found = await requests.listed(gateway, wanted, limit=5)
        assert [one.request.id for one in found.entries] == [made]
    assert (await requests.listed(gateway, RequestFilter(token_id="none"))).entries == ()
    with pytest.raises(Problem) as refused:
        await requests.listed(gateway, RequestFilter(address="the office"), limit=5)
    assert refused.value.fault is INVALID_PARAMETER
    with pytest.raises(Problem) as refused:
        await requests.listed(gateway, RequestFilter(), cursor="the last one")
    assert refused.value.fault is INVALID_PARAMETER


async def test_a_submit_keeps_its_caller_and_retention_erases_it(world: World) -> None:
    made = await world.submitted()
    gateway = world.gateway

    async def kept() -> tuple[str | None, str | None]:
        row = await gateway.db.read(store.find, made, None)
        assert row is not None
        return row.caller_address, row.user_agent

    address, program = await kept()
    assert address == "127.0.0.0/24"
    assert program is not None
    assert program.startswith("python-httpx2/")
    await gateway.upkeep.retention.run_once()
    assert await kept() == (address, program)
    world.clock.advance(gateway.settings.caller_retention_s + 1)
    await gateway.upkeep.retention.run_once()
    assert await kept() == (None, None)
    position = await gateway.db.write(store.erase_callers, before_ms=world.clock.now_ms(), limit=10)
    assert position == (0, 0), "what was looked at is not looked at again"
