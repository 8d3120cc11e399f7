"""The audit log is one chain: what is done to it behind the gateway's back is found, and named."""

# ruff: noqa: S608 - its statements are made of its own constants

import asyncio
import hashlib
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, event, text

from app.admin import audit_log, chain
from app.admin.access import tenants
from app.admin.actor import Actor
from app.admin.audit_log import AuditUpkeep, EntryFilter, verify
from app.admin.chain import Break, Head
from app.admin.session import AdminSession
from app.auth.tenants import list_all
from app.config import Settings
from app.db.engines.engine import Database
from app.errors import INVALID_PARAMETER, Problem
from tests.harness import FakeClock

pytestmark = pytest.mark.anyio

ACTOR = Actor("command", "olga")
SIZE = 6


class Log:
    """An audit log of some entries, and a session to make more."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self.clock = FakeClock()
        self.gateway = AdminSession(Settings(_env_file=None, public_url="https://gw.example"), self.clock, db)

    async def grow(self, *names: str) -> None:
        for name in names:
            await tenants.create(self.gateway, ACTOR, name)
            self.clock.advance(60)

    async def tamper(self, *statements: str) -> None:
        """Changes the rows as somebody with the database's password would."""
        await self.db.write(tamper, statements)

    async def broken(self, anchor: str | None = None) -> tuple[str, int] | None:
        one = (await audit_log.verified(self.gateway, head=anchor)).first_break
        return None if one is None else (one.kind, one.seq)

    async def kept(self) -> str:
        """The head as it is kept outside."""
        return (await audit_log.head(self.gateway)).checkpoint("gw.example/audit")

    async def rows(self) -> dict[int, Any]:
        def read(connection: Connection) -> dict[int, Any]:
            found = connection.execute(text("SELECT * FROM audit_entries")).mappings()
            return {row["seq"]: row for row in found}

        return await self.db.read(read)


def tamper(connection: Connection, statements: Sequence[str]) -> None:
    off = ["ALTER TABLE audit_entries DISABLE TRIGGER USER"]
    if connection.dialect.name == "sqlite":
        off = [f"DROP TRIGGER IF EXISTS audit_entries_no_{name}" for name in ("update", "delete")]
    for statement in (*off, *statements):
        connection.execute(text(statement))


@pytest.fixture
async def log(db: Database) -> Log:
    made = Log(db)
    await made.grow(*(f"tenant {number}" for number in range(1, SIZE + 1)))
    return made


def renumber(*moves: tuple[int, int]) -> list[str]:
    """Statements that give rows other numbers."""
    far = [f"UPDATE audit_entries SET seq = {old + 1000} WHERE seq = {old}" for old, _ in moves]
    return [*far, *(f"UPDATE audit_entries SET seq = {new} WHERE seq = {old + 1000}" for old, new in moves)]


def copied(seq: int, to: int) -> str:
    more = "at_ms, actor_kind, actor_name, action, subject_kind, subject_id, tenant_id"
    return (
        f"INSERT INTO audit_entries (seq, prev_hash, hash, text, {more})"
        f" SELECT {to}, 'x', hash, text, {more} FROM audit_entries WHERE seq = {seq}"
    )


TAMPERINGS: dict[str, tuple[list[str], tuple[str, int]]] = {
    "a text is edited": (
        ["UPDATE audit_entries SET text = replace(text, 'olga', 'otto') WHERE seq = 3"],
        ("edited", 3),
    ),
    "a column is edited": (
        ["UPDATE audit_entries SET actor_name = 'otto' WHERE seq = 3"],
        ("edited", 3),
    ),
    "a text is no JSON": (["UPDATE audit_entries SET text = '[]' WHERE seq = 3"], ("edited", 3)),
    "a time is edited": (["UPDATE audit_entries SET at_ms = at_ms + 1 WHERE seq = 6"], ("edited", 6)),
    "one is deleted": (["DELETE FROM audit_entries WHERE seq = 3"], ("missing", 3)),
    "two are deleted": (["DELETE FROM audit_entries WHERE seq IN (1, 2)"], ("missing", 1)),
    "one is deleted, and the others moved up": (
        ["DELETE FROM audit_entries WHERE seq = 3", *renumber((4, 3), (5, 4), (6, 5))],
        ("missing", 3),
    ),
    "two are swapped": (renumber((3, 4), (4, 3)), ("reordered", 3)),
    "three are turned round": (renumber((2, 4), (3, 2), (4, 3)), ("reordered", 2)),
    "one is doubled at the end": ([copied(3, 7)], ("duplicated", 7)),
    "one is doubled behind itself": (
        [*renumber((4, 5), (5, 6), (6, 7)), copied(3, 4)],
        ("duplicated", 4),
    ),
    "the end is cut off": (["DELETE FROM audit_entries WHERE seq > 4"], ("truncated", 5)),
    "all is cut off": (["DELETE FROM audit_entries"], ("truncated", 1)),
    "the head is set back": (["UPDATE audit_head SET seq = 4"], ("edited", 6)),
    "the head is gone": (["DELETE FROM audit_head"], ("truncated", 6)),
    "some are said to be pruned": (
        [
            "UPDATE audit_head SET pruned_seq = 2",
            "UPDATE audit_head SET pruned_hash = (SELECT hash FROM audit_entries WHERE seq = 2)",
            "DELETE FROM audit_entries WHERE seq <= 2",
        ],
        ("missing", 2),
    ),
}


class UndoneError(Exception):
    """Takes back what a transaction did."""


async def test_whatever_is_done_to_the_rows_is_found_and_named(log: Log) -> None:
    assert await log.broken() is None
    found: dict[str, Break | None] = {}

    def try_one(connection: Connection, name: str, statements: Sequence[str]) -> None:
        tamper(connection, statements)
        found[name] = verify(connection).first_break
        raise UndoneError

    for name, (statements, _) in TAMPERINGS.items():
        with pytest.raises(UndoneError):
            await log.db.write(try_one, name, statements)
    named = {name: one and (one.kind, one.seq) for name, one in found.items()}
    assert named == {name: expected for name, (_, expected) in TAMPERINGS.items()}
    assert await log.broken() is None


async def test_a_chain_that_was_made_anew_is_found_by_a_head_that_was_kept_outside(log: Log) -> None:
    kept = await log.kept()
    origin, size, _ = kept.splitlines()
    assert (origin, size) == ("gw.example/audit", str(SIZE))
    await log.grow("later")
    assert await log.broken(kept) is None
    assert await log.broken(" ".join(kept.split())) is None, "the line of the log is a head too"
    for wrong in ("no head", "a\nb\nc", f"{origin}\n6\nAAAA", "6 !"):
        with pytest.raises(Problem) as refused:
            await log.broken(wrong)
        assert refused.value.fault is INVALID_PARAMETER
    rows = await log.rows()
    # Entry 2 is edited, and everything behind it is hashed again, as is the head.
    prev, statements = rows[1]["hash"], []
    for seq in range(2, SIZE + 2):
        told = rows[seq]["text"].replace("tenant 2", "tenant X")
        made = chain.hash_of(prev, told)
        statements.append(
            f"UPDATE audit_entries SET prev_hash = '{prev}', hash = '{made}',"
            f" text = replace(text, 'tenant 2', 'tenant X') WHERE seq = {seq}"
        )
        prev = made
    await log.tamper(*statements, f"UPDATE audit_head SET hash = '{prev}'")
    assert await log.broken() is None
    assert await log.broken(kept) == ("edited", SIZE)
    # Cut off, with the head set back to what is left.
    await log.tamper(
        "DELETE FROM audit_entries WHERE seq > 1",
        f"UPDATE audit_head SET seq = 1, hash = '{rows[1]['hash']}'",
    )
    assert await log.broken() is None
    assert await log.broken(kept) == ("truncated", 2)


async def test_many_operators_at_once_make_one_chain(db: Database) -> None:
    log = Log(db)
    await asyncio.gather(*(tenants.create(log.gateway, ACTOR, f"t{number}") for number in range(64)))
    found = await db.snapshot(verify)
    assert (found.first_break, found.entries, found.head and found.head.size) == (None, 64, 64)
    rows = await log.rows()
    assert [rows[seq]["prev_hash"] for seq in range(2, 65)] == [rows[seq]["hash"] for seq in range(1, 64)]


class FailingDatabase:
    """A database whose transactions end at the `nth` statement, as where the process is killed there."""

    def __init__(self, db: Database, nth: int) -> None:
        self.db, self.nth, self.seen = db, nth, 0

    def fail(self, *_: Any) -> None:
        self.seen += 1
        if self.seen == self.nth:
            raise UndoneError

    async def write(self, function: Callable[..., Any], *args: Any, **more: Any) -> Any:
        def work(connection: Connection) -> Any:
            event.listen(connection, "before_cursor_execute", self.fail)
            try:
                return function(connection, *args, **more)
            finally:
                event.remove(connection, "before_cursor_execute", self.fail)

        return await self.db.write(work)


async def test_a_failure_at_any_statement_leaves_neither_the_change_nor_its_entry(log: Log) -> None:
    before = (await log.db.read(list_all), await log.rows())
    settings, clock, nth = log.gateway.settings, log.clock, 0
    failed = True
    while failed:
        nth += 1
        failing: Any = FailingDatabase(log.db, nth)
        try:
            await tenants.create(AdminSession(settings, clock, failing), ACTOR, "new")
        except UndoneError:
            assert (await log.db.read(list_all), await log.rows()) == before, nth
            assert await log.broken() is None
        else:
            failed = False
    assert nth > 4, "the head, the change, the entry and the head again were tried"
    assert await log.broken() is None
    assert len(await log.rows()) == SIZE + 1


async def test_an_export_can_be_verified_by_anybody_with_a_hash_function(log: Log) -> None:
    page = await audit_log.exported(log.gateway, limit=4)
    links = list(page.entries)
    assert page.next_cursor == "4"
    page = await audit_log.exported(log.gateway, limit=4, cursor="4")
    links += page.entries
    prev = "0" * 64
    for number, one in enumerate(links, 1):
        assert one.prev_hash == prev
        prev = hashlib.sha256(f"{prev}\n{one.text}".encode()).hexdigest()
        assert (one.hash, json.loads(one.text)["seq"]) == (prev, number)
    assert (page.next_cursor, await audit_log.head(log.gateway)) == (None, Head(SIZE, prev))


async def test_entries_are_listed_by_who_what_on_what_and_when(log: Log) -> None:
    await tenants.disable(log.gateway, Actor("command", "otto"), "tenant 2", reason="unpaid")
    disabled = (await log.rows())[SIZE + 1]
    at = datetime.fromtimestamp(log.clock.now_ms() / 1000, UTC)
    wanted = [
        (EntryFilter(), [7, 6, 5, 4, 3, 2, 1]),
        (EntryFilter(tenant="tenant 2"), [7, 2]),
        (EntryFilter(actor="otto"), [7]),
        (EntryFilter(action="tenant.create", created_before=at - timedelta(minutes=4)), [2, 1]),
        (EntryFilter(subject=disabled["subject_id"], created_after=at), [7]),
        (EntryFilter(actor="\0"), []),
    ]
    for filters, expected in wanted:
        page = await audit_log.listed(log.gateway, filters, limit=2)
        found = list(page.entries)
        while page.next_cursor is not None:
            page = await audit_log.listed(log.gateway, filters, limit=2, cursor=page.next_cursor)
            found += page.entries
        assert [one.document["seq"] for one in found] == expected, filters
    with pytest.raises(Problem, match="cursor"):
        await audit_log.listed(log.gateway, EntryFilter(), cursor="x")


async def test_what_retention_removes_leaves_its_head_and_an_entry(log: Log) -> None:
    rows = await log.rows()
    kept = await log.kept()
    upkeep = AuditUpkeep(gateway=log.gateway, keep_s=4 * 60)
    assert await AuditUpkeep(gateway=log.gateway, keep_s=0).prune() == 0
    assert await upkeep.prune() == 2
    assert await upkeep.prune() == 0
    found = await log.db.snapshot(verify)
    assert (found.first_break, found.pruned, found.entries) == (None, 2, SIZE - 1)
    assert await log.broken(kept) is None
    told = json.loads((await log.rows())[SIZE + 1]["text"])
    assert (told["action"], told["after"]) == (chain.PRUNE, {"seq": 2, "hash": rows[2]["hash"]})
    assert await log.broken(Head(2, rows[2]["hash"]).checkpoint("x")) is None
    assert await log.broken(Head(2, rows[3]["hash"]).checkpoint("x")) == ("edited", 2)
    assert await log.broken(Head(1, rows[1]["hash"]).checkpoint("x")) == ("missing", 1)
    log.clock.advance(10**9)
    assert await upkeep.prune() == SIZE - 2, "the newest entry stays"
    assert await log.broken() is None
    # What was pruned since an anchor does not break it: the newest part can be looked at alone.
    glimpse = await log.db.snapshot(lambda at: verify(at, only_last=1))
    assert (glimpse.first_break, glimpse.entries) == (None, 1)
