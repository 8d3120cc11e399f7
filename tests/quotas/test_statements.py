"""Statements: a closed month has every entry that was made in it, never changes, and adds up."""

import csv
import hashlib
import io
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pypdfium2  # type: ignore[import-untyped]  # it has no types
import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from app.admin.amounts import statements
from app.admin.amounts.statements import Difference
from app.auth import tenants
from app.documents.amounts.statement_pdf import statement_pdf
from app.errors import Problem
from app.generations.advance import advance
from app.generations.lifecycle import State
from app.quotas.account import Owner
from app.quotas.balances import entries, ledger
from app.quotas.balances.ledger import Kind
from app.quotas.limits import Scope
from tests.contract.published import problem_of
from tests.harness import World
from tests.quotas.accounts import kid_of
from tests.rows import PRICE, add_generation

pytestmark = pytest.mark.anyio

CAIRO = ZoneInfo("Africa/Cairo")


def ms(*parts: int, zone: ZoneInfo = CAIRO) -> int:
    year, month, day, hour, minute, second = (*parts, 0, 0, 0)[:6]
    return int(datetime(year, month, day, hour, minute, second, tzinfo=zone).timestamp() * 1000)


async def verified(world: World) -> tuple[int, Sequence[Difference]]:
    found = await statements.verify(world.gateway)
    return found.statements, found.differences


async def history(world: World) -> list[str]:
    """Two requests of October, of which one is refunded in November; top-ups in both."""
    owner = (world.tenant_id, kid_of(world.key))

    def work(connection: Connection) -> list[str]:
        tenants.set_time_zone(connection, world.tenant_id, "Africa/Cairo", now_ms=world.clock.now_ms())
        made = []
        for at_ms in (ms(2026, 10, 1), ms(2026, 10, 31, 23, 59, 59)):
            made.append(add_generation(connection, owner=owner, now_ms=at_ms).id)
            top_up(connection, world, 5_000_000, at_ms, note="=paid, by wire €")
        for one, at_ms, to in zip(
            made, (ms(2026, 10, 2), ms(2026, 11, 1)), (State.IN_QUEUE, State.REJECTED), strict=True
        ):
            more: Any = {"upstream_request_id": one} if to is State.IN_QUEUE else {}
            advance(connection, one, to, reason="x", now_ms=at_ms, **more)
        advance(connection, made[0], State.COMPLETED, reason="x", now_ms=ms(2026, 10, 2), output={})
        return made

    return await world.gateway.db.write(work)


def top_up(connection: Connection, world: World, amount: int, at_ms: int, note: str | None = None) -> None:
    ledger.add(
        connection, Owner(world.tenant_id, "test"), Scope(), Kind.TOP_UP, amount, now_ms=at_ms, note=note
    )


def at(world: World, now_ms: int) -> None:
    world.clock.advance((now_ms - world.clock.now_ms()) / 1000)


async def test_a_month_closes_when_its_end_has_passed_and_a_late_refund_is_of_the_next(world: World) -> None:
    _, refunded = await history(world)
    at(world, ms(2026, 11, 1) - 1)
    assert (await world.get("/v1/statements"))["statements"] == []
    problem_of(await world.client.get("/v1/statements/2026-10"), 404, "statement_not_found")
    at(world, ms(2026, 12, 1))
    november, october = (await world.get("/v1/statements"))["statements"]
    assert (october["month"], october["time_zone"]) == ("2026-10", "Africa/Cairo")
    assert october["closing_microcredits"] == 10_000_000 - 2 * PRICE == november["opening_microcredits"]
    assert november["refunded_microcredits"] == PRICE
    in_full = await world.get("/v1/statements/2026-11")
    assert [(one["kind"], one["request_id"]) for one in in_full["entries"]] == [("refund", refunded)]
    pages, address = [], "/v1/statements/2026-10?limit=2"
    while address:
        answer = await world.client.get(address)
        pages += [one["kind"] for one in answer.json()["entries"]]
        address = answer.links["next"]["url"] if "next" in answer.links else ""
    assert sorted(pages) == ["hold", "hold", "settle", "top-up", "top-up"]


async def test_the_csv_is_what_its_hash_says_and_the_pdf_shows_its_numbers(world: World) -> None:
    await history(world)
    at(world, ms(2026, 12, 1))
    summary = await world.get("/v1/statements/2026-10")
    answer = await world.client.get("/v1/statements/2026-10.csv")
    assert hashlib.sha256(answer.content).hexdigest() == summary["csv_sha256"]
    opening, *lines, closing = csv.DictReader(io.StringIO(answer.text))
    assert (opening["kind"], opening["balance"], closing["kind"]) == ("opening", "0", "closing")
    assert closing["balance"] == lines[-1]["balance"] == "9.5"
    assert {one["note"] for one in lines} == {"", "'=paid, by wire €"}
    by_accept = await world.client.get("/v1/statements/2026-10", headers={"Accept": "text/csv"})
    assert by_accept.content == answer.content
    pdf = (await world.client.get("/v1/statements/2026-10?format=pdf")).content
    assert pdf == (await world.client.get("/v1/statements/2026-10.pdf")).content
    document = pypdfium2.PdfDocument(pdf)
    shown = "".join(page.get_textpage().get_text_range() for page in document)
    for line in lines:
        assert line["request_id"][:36] in shown
        assert line["credits"] in shown
    assert summary["csv_sha256"] in shown
    assert "Africa/Cairo" in shown
    assert "by wire €" in shown
    problem_of(await world.client.get("/v1/statements/2026-10.xls"), 400, "invalid_parameter")


async def test_what_the_pdf_cannot_show_is_replaced_visibly_and_its_bytes_stay_the_same(world: World) -> None:
    await history(world)
    at(world, ms(2026, 12, 1))
    owner = Owner(world.tenant_id, "test")
    one = await statements.find(world.gateway, owner, "2026-10")
    lines = await world.gateway.db.read(entries.page, owner, span=one.span, limit=100)
    first, again = (statement_pdf("株式会社 (Acme\\Co)", one, lines) for _ in range(2))
    assert first == again
    shown = pypdfium2.PdfDocument(first)[0].get_textpage().get_text_range()
    assert "Statement of ???? (Acme\\Co)" in shown
    assert "A ? may stand for a character" in shown


async def test_a_closed_month_is_never_changed_and_verify_names_what_was_tampered_with(world: World) -> None:
    await history(world)
    at(world, ms(2026, 12, 1))
    assert await statements.close_all(world.gateway) == 2
    assert await statements.close_all(world.gateway) == 0
    assert await verified(world) == (2, [])
    await world.gateway.db.write(top_up, world, 1, ms(2026, 10, 5))  # as if it had been entered months ago
    assert await verified(world) == (2, []), "an entry that came late is of a later month"
    at(world, ms(2027, 1, 1))
    assert await statements.close_all(world.gateway) == 1
    (found,) = (await verified(world))[1]
    assert (found.month, "all entries until then" in found.detail) == ("2026-12", True)
    for sql in ("UPDATE statements SET entries = 0", "DELETE FROM statements"):
        with pytest.raises((DBAPIError, Problem)):
            await world.gateway.db.write(Connection.execute, text(sql))


async def test_a_late_entry_and_a_changed_time_zone_leave_no_gap_between_months(world: World) -> None:
    await history(world)
    at(world, ms(2026, 11, 1))
    (october,) = (await world.get("/v1/statements"))["statements"]
    late_ms = ms(2026, 11, 1) - 5  # a transaction that waited
    await world.gateway.db.write(top_up, world, 7, late_ms)
    zone = "Asia/Kathmandu"
    await world.gateway.db.write(tenants.set_time_zone, world.tenant_id, zone, now_ms=world.clock.now_ms())
    at(world, ms(2026, 12, 1, zone=ZoneInfo(zone)))
    november = (await world.get("/v1/statements?limit=1"))["statements"][0]
    assert (november["begin"], november["time_zone"]) == (october["until"], zone)
    assert november["until"] == datetime(2026, 11, 30, 18, 15, tzinfo=UTC).isoformat(
        "T", "milliseconds"
    ).replace("+00:00", "Z")
    assert november["added_microcredits"] == 7
    assert await verified(world) == (2, [])
