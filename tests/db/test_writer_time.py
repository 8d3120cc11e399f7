"""A lane and the time that callers wait: that is each caller's own, and a transaction's is another."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import Connection

from app.db.engines.writer import Writer
from app.db.outage import DatabaseBusyError, NotBegunError
from tests.loops import skip
from tests.shared import PATIENT_S

pytestmark = pytest.mark.anyio
ANSWER_S = 1000.0


class Somewhere:
    """A place without a database. It notes where it is cut."""

    max_group = 8
    locks_rows = True
    next_savepoint: tuple[str, ...] = ()

    def __init__(self) -> None:
        self.cuts = 0

    @contextmanager
    def transaction(self) -> Iterator[Any]:
        yield SimpleNamespace(info={})

    def is_lost(self, _error: BaseException) -> bool:
        return False

    def has_failed(self, _connection: Any) -> bool:
        return False

    def cut(self) -> None:
        self.cuts += 1

    def close(self) -> None:
        pass


class Slow:
    """A function that ends when it may."""

    def __init__(self) -> None:
        self.begun, self.may_end = threading.Event(), threading.Event()

    def __call__(self, _connection: Connection) -> str:
        self.begun.set()
        assert self.may_end.wait(PATIENT_S)
        return "done"


async def test_a_caller_who_has_waited_for_a_turn_does_not_cut_a_transaction_that_has_just_begun() -> None:
    place, first, second = Somewhere(), Slow(), Slow()
    writer = Writer([place], answer_s=ANSWER_S)
    running = asyncio.ensure_future(writer.run(first))
    assert await asyncio.to_thread(first.begun.wait, PATIENT_S)
    late = asyncio.ensure_future(writer.run(second))
    await asyncio.sleep(0)
    first.may_end.set()
    assert await running == "done"
    assert await asyncio.to_thread(second.begun.wait, PATIENT_S)
    skip(ANSWER_S)
    with pytest.raises(DatabaseBusyError) as told:
        await late
    assert not isinstance(told.value, NotBegunError)
    await asyncio.sleep(0)
    assert place.cuts == 0
    skip(ANSWER_S)  # now the transaction itself has lasted too long
    await asyncio.sleep(0.001)
    assert place.cuts == 1
    second.may_end.set()
    await writer.close()


async def test_a_result_that_comes_with_the_end_of_the_time_is_the_answer() -> None:
    slow = Slow()
    writer = Writer([Somewhere()], answer_s=ANSWER_S)
    running = asyncio.ensure_future(writer.run(slow))
    assert await asyncio.to_thread(slow.begun.wait, PATIENT_S)
    slow.may_end.set()
    (lane,) = writer._lanes
    lane.close()
    lane.thread.join(PATIENT_S)  # this loop stands still, as where the machine does
    skip(ANSWER_S)
    assert await running == "done"


async def test_what_is_asked_for_after_the_end_has_not_begun() -> None:
    writer = Writer([Somewhere()])
    await writer.close()
    with pytest.raises(NotBegunError):
        await writer.run(Slow())


async def test_what_has_no_key_goes_where_nothing_is_under_way() -> None:
    slow = Slow()
    writer = Writer([Somewhere(), Somewhere()])
    running = asyncio.ensure_future(writer.run(slow))
    assert await asyncio.to_thread(slow.begun.wait, PATIENT_S)
    async with asyncio.timeout(PATIENT_S):
        assert await writer.run(lambda _: "at once") == "at once"
    slow.may_end.set()
    assert await running == "done"
    await writer.close()
