"""What functions of one transaction defer is written once, before its COMMIT, and goes with its function."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, date
from typing import Any

import pytest
from sqlalchemy import Connection

from app.db.engines.engine import Database, open_database
from app.db.statements.deferral import write_later
from app.quotas.limits import Payer
from app.quotas.sums import rollups, usage
from app.quotas.sums.usage import Group, Question, Step
from tests.rows import add_counter, add_owner, set_text, text_of
from tests.shared import PATIENT_S

pytestmark = pytest.mark.anyio
NAMES = ("plain", 'with "quotes"', "with \\ and {braces}", "with, comma", "NULL", "ü")


@pytest.fixture
async def one_lane(database_url: str) -> AsyncIterator[Database]:
    database = open_database(database_url, pool=1)
    yield database
    await database.close()


async def together(db: Database, *functions: Callable[[Connection], Any]) -> list[Any]:
    """Runs functions in one transaction, in this order; returns their results or errors."""
    inside, opened = threading.Event(), threading.Event()

    def wait(_connection: Connection) -> None:
        inside.set()
        assert opened.wait(PATIENT_S)

    first = asyncio.create_task(db.write(wait))
    assert await asyncio.to_thread(inside.wait, PATIENT_S)
    keys = (f"{number:03}" for number in range(len(functions)))
    tasks = [asyncio.create_task(db.write_for(key, one)) for key, one in zip(keys, functions, strict=True)]
    await asyncio.sleep(0)
    opened.set()
    await first
    return await asyncio.gather(*tasks, return_exceptions=True)


def counted(owner: tuple[str, str], model: str = "a/b", amount: int = 1, **fails: Any) -> Any:
    """A function that counts an amount, and then raises the error that it is given."""

    def call(connection: Connection) -> None:
        tenant_id, kid = owner
        rollups.count(
            connection, tenant_id, "test", Payer(kid, "user", "token"), model, outcome="submitted",
            zone=UTC, at_ms=0, held_generations=amount, held_microcredits=5 * amount,
        )  # fmt: skip
        if fails:
            raise fails["error"]

    return call


def held(owner: tuple[str, str]) -> Callable[[Connection], dict[str, int]]:
    """A function that returns the generations held, by model, as usage tells them."""
    question = Question(
        tenant_id=owner[0],
        mode="test",
        first=date(1970, 1, 1),
        last=date(1970, 1, 2),
        by=Step.DAY,
        groups=(Group.MODEL,),
    )

    def call(connection: Connection) -> dict[str, int]:
        found = usage.rows(connection, question, UTC, after=None, limit=100)
        assert all(row.counts["held_microcredits"] == 5 * row.counts["held_generations"] for row in found)
        return {str(row.key[1]): row.counts["held_generations"] for row in found}

    return call


async def test_sums_of_one_transaction_are_written_once_and_read_in_it_as_they_are(
    one_lane: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, other = await one_lane.write(add_owner), await one_lane.write(add_owner)
    writes: list[int] = []
    write: Any = rollups._write

    def watched(connection: Connection, sums: Any) -> None:
        writes.append(len(sums))
        write(connection, sums)

    def read_and_fail(connection: Connection) -> None:
        assert held(owner)(connection) == {"a/b": 3}
        raise KeyError("after it made others' sums be written")

    monkeypatch.setattr(rollups, "_write", watched)
    *_, failed = await together(
        one_lane,
        counted(other),
        *[counted(owner)] * 3,
        counted(owner, error=KeyError("own")),
        read_and_fail,
    )
    assert isinstance(failed, KeyError)
    assert writes == [8], "for the reader, who has changed nothing itself"
    assert await one_lane.read(held(owner)) == {"a/b": 3}
    assert await one_lane.read(held(other)) == {"a/b": 1}
    await together(one_lane, *(counted(owner, name, 2) for name in NAMES))
    assert writes[1:] == [4 * len(NAMES)]
    assert await one_lane.read(held(owner)) == {"a/b": 3, **dict.fromkeys(NAMES, 2)}


async def test_what_a_function_deferred_and_had_written_goes_with_it(one_lane: Database) -> None:
    owner = await one_lane.write(add_owner)

    def read_its_own_and_fail(connection: Connection) -> None:
        counted(owner)(connection)
        assert held(owner)(connection) == {"a/b": 2}
        raise KeyError("after its own sums were written")

    *_, failed = await together(one_lane, counted(owner), read_its_own_and_fail)
    assert isinstance(failed, KeyError)
    assert await one_lane.read(held(owner)) == {"a/b": 1}


async def test_what_cannot_be_written_fails_the_function_that_deferred_it_alone(one_lane: Database) -> None:
    owner = await one_lane.write(add_owner)
    kids = [await one_lane.write(add_counter) for _ in range(3)]

    def write(connection: Connection, items: Sequence[str]) -> None:
        for kid in items:
            set_text(connection, kid, "written")
        if kids[1] in items:
            raise KeyError(kids[1])

    def defer(kid: str) -> Callable[[Connection], None]:
        return lambda connection: write_later(connection, write, kid)

    first, wrong, last, also = await together(one_lane, *map(defer, kids), counted(owner))
    assert (first, last, also) == (None, None, None)
    assert isinstance(wrong, KeyError)
    assert [await one_lane.read(text_of, kid) for kid in kids] == ["written", "0", "written"]
    assert await one_lane.read(held(owner)) == {"a/b": 1}
