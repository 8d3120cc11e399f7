"""A fault at every single event of the gateway's work: the books are right, and no job was sent twice."""

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection
from structlog.testing import capture_logs

from app.generations import advance
from app.generations.dispatch import dispatcher
from app.generations.dispatch.dispatcher import Dispatcher
from app.generations.dispatch.loop import DispatchLoop
from app.generations.dispatch.rescue import Rescuer
from app.generations.lifecycle import State
from app.generations.store import Generation
from app.quotas.account import Owner
from app.quotas.balances import ledger
from app.upstream.outcomes import Outcome, Verdict
from app.webhooks.messages import outbox
from tests.gateway.audit import complaints
from tests.gateway.campaign import Theatre
from tests.gateway.doomed import Doomed, doomed
from tests.gateway.events import Fault, bug, no_fault, outage, postgres_error, sqlite_error
from tests.gateway.story import QUEUEING, START_MS, STORIES, Story
from tests.sandbox.harness import Running

pytestmark = pytest.mark.anyio

BATCH = 8  # stories that end badly before the gateway that mends them starts; one, where jobs wait
PARTS = 10
"""Of a story's events, each a test of its own: they run side by side, and `make test` runs the first."""
LEAST = 40  # events of a story: with fewer, nobody would count
KINDS = {"statement", "commit", "network"}

Play = Callable[[list[Story]], Awaitable[None]]
"""Tells stories, each with a fault at its event."""
Record = Callable[[str, object], None]

of_jobs = pytest.mark.parametrize(
    "jobs", STORIES, ids=["made and cancelled", "refused and unclear", "waited and let go"]
)
in_parts = pytest.mark.parametrize("part", range(PARTS))


@pytest.fixture(autouse=True)
def _silence() -> Iterator[None]:
    """Thousands of faults, each with a stack trace, are slow to print."""
    with capture_logs():
        yield


@pytest.fixture(scope="session")
def launcher() -> Iterator[Doomed]:
    with doomed() as started:
        yield started


@pytest.fixture
def theatre(database_url: str, tmp_path: Path, sandbox: Running) -> Theatre:
    return Theatre(database_url, str(tmp_path), sandbox.options.public_url)


def playing(theatre: Theatre, fault: Fault) -> Play:
    return partial(theatre.play, fault=fault)


async def what_is_wrong(theatre: Theatre, told: list[Story]) -> list[tuple[Story | None, str]]:
    """After a new start, once everything has come to its end."""
    async with theatre.stage(min(story.now_ms for story in told)) as stage:
        await stage.settle(told)
        found = await complaints(stage, told)
        stage.tidy()
    return found


async def at_every_event(
    theatre: Theatre, jobs: tuple[str, ...], play: Play, *, first: int = 1, step: int = 1
) -> tuple[list[Story], list[str]]:
    """The stories that had a fault, and what was wrong after the first batch with anything."""
    stories: list[Story] = []
    wrong: list[str] = []
    batch = 1 if jobs == QUEUEING else BATCH  # behind what one left waiting, the next would wait as well
    while not wrong and all(story.fault for story in stories):
        told = [_story(theatre, jobs, first, step, number) for number in range(batch)]
        await play(told)
        for story, what in await what_is_wrong(theatre, told):
            where = f"event {story.at}, {story.fault}" if story else f"events {first} and later"
            wrong.append(f"{where}: {what}")
        stories += told
        first += step * batch
    return [story for story in stories if story.fault], wrong


def _story(theatre: Theatre, jobs: tuple[str, ...], first: int, step: int, number: int) -> Story:
    """Each of a batch is told well before the one ahead of it: its rescue loop finds nothing of theirs."""
    at = first + step * number
    now_ms = START_MS + first // step * 10_000_000 - number * 8_000_000
    return Story(Path(theatre.folder) / f"{at}.jsonl", jobs, at, now_ms=now_ms)


async def holds(
    theatre: Theatre,
    jobs: tuple[str, ...],
    play: Play,
    record_property: Record,
    *,
    part: int,
    step: int = 1,
) -> set[int]:
    """Assert that nothing is wrong after any fault, and that there was one at each event of the part.

    Returns the statuses that the clients were told.
    """
    whole = Story(Path(theatre.folder) / "whole.jsonl", jobs)
    await play([whole])
    assert await what_is_wrong(theatre, [whole]) == []
    assert {event.partition(":")[0] for event in whole.events} == KINDS
    assert len(whole.events) >= LEAST
    record_property("events", len(whole.events))
    first, step = 1 + part * step, step * PARTS
    ended, wrong = await at_every_event(theatre, jobs, play, first=first, step=step)
    assert not wrong, "\n".join(wrong)
    assert [story.fault for story in ended] == whole.events[first - 1 :: step]
    return {told["status"] for story in ended for told in story.told}


@of_jobs
@in_parts
async def test_an_outage_at_any_event_loses_doubles_and_miscounts_nothing(
    theatre: Theatre, jobs: tuple[str, ...], part: int, record_property: Record
) -> None:
    error = sqlite_error if theatre.database_url.startswith("sqlite") else postgres_error
    statuses = await holds(theatre, jobs, playing(theatre, outage(error)), record_property, part=part)
    assert part or 503 in statuses, "some parts meet only outages that no caller sees"
    assert 500 not in statuses, "an outage is told as one"


@of_jobs
@in_parts
async def test_a_kill_at_any_event_loses_doubles_and_miscounts_nothing(
    theatre: Theatre,
    jobs: tuple[str, ...],
    part: int,
    launcher: Doomed,
    record_property: Record,
) -> None:
    async def play(told: list[Story]) -> None:
        launcher.play(theatre, told)

    # The longest story at every second event on the slower database, to save time.
    is_slow = jobs == QUEUEING and theatre.database_url.startswith("postgresql")
    await holds(theatre, jobs, play, record_property, part=part, step=2 if is_slow else 1)


@of_jobs
@in_parts
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_an_error_that_nobody_foresaw_loses_doubles_and_miscounts_nothing(
    theatre: Theatre, jobs: tuple[str, ...], part: int, record_property: Record
) -> None:
    """At every third, to save time."""
    await holds(theatre, jobs, playing(theatre, bug), record_property, part=part, step=3)


# Whether all of this would notice.


def never_ends_a_hold(patch: pytest.MonkeyPatch) -> None:
    def end_hold(_c: Connection, generation: Generation, **_: Any) -> Generation:
        return generation

    patch.setattr(advance, "_end_hold", end_hold)


def sends_the_unknown_again(patch: pytest.MonkeyPatch) -> None:
    pause = dispatcher._pause_before_another

    def careless(outcome: Outcome, tries: int) -> float | None:
        unclear = outcome.verdict is Verdict.UNKNOWN
        return pause(replace(outcome, verdict=Verdict.NOT_SENT) if unclear else outcome, tries)

    patch.setattr(dispatcher, "_pause_before_another", careless)


def holds_the_price_in_a_transaction_of_its_own(patch: pytest.MonkeyPatch) -> None:
    hold, send = ledger.hold, Dispatcher.dispatch
    waiting: list[tuple[Owner, str, int, int]] = []

    def later(_c: Connection, owner: Owner, generation_id: str, microcredits: int, *, now_ms: int) -> None:
        waiting.append((owner, generation_id, microcredits, now_ms))

    async def hold_and_send(self: Dispatcher, *arguments: Any, **more: Any) -> Generation:
        owner, generation_id, microcredits, now_ms = waiting.pop()
        await self.db.write(hold, owner, generation_id, microcredits, now_ms=now_ms)
        return await send(self, *arguments, **more)

    patch.setattr("app.generations.advance.ledger.hold", later)
    patch.setattr(Dispatcher, "dispatch", hold_and_send)


def sends_twice_what_it_took(patch: pytest.MonkeyPatch) -> None:
    send = DispatchLoop._send

    def careless(self: DispatchLoop, taken: Generation) -> None:
        send(self, taken)
        send(self, taken)

    patch.setattr(DispatchLoop, "_send", careless)


def gives_back_what_was_taken(patch: pytest.MonkeyPatch) -> None:
    move = Rescuer._move

    async def careless(self: Rescuer, source: State, to: State, **how: Any) -> int:
        if source is State.DISPATCHING:
            to, how = State.ACCEPTED, how | {"credential": "", "sent_at_ms": None}
        return await move(self, source, to, **how)

    patch.setattr(Rescuer, "_move", careless)
    record = Dispatcher.record
    has_died: list[bool] = []

    async def dies_once(self: Dispatcher, *what: Any) -> Generation:
        if not has_died:
            has_died.append(True)
            raise RuntimeError("this server ends before it records what it sent")
        return await record(self, *what)

    patch.setattr(Dispatcher, "record", dies_once)


def tells_before_it_is_true(patch: pytest.MonkeyPatch) -> None:
    """The message of an end is written in a transaction of its own, before that of the state."""
    tell, commit = outbox.write, advance.advance
    ahead: list[Any] = []

    def later(connection: Connection, *what: Any) -> None:
        ahead.append(what)

    def change(connection: Connection, *which: Any, **how: Any) -> Generation | None:
        while ahead:
            tell(connection, *ahead.pop())
        return commit(connection, *which, **how)

    patch.setattr(outbox, "write", later)
    patch.setattr(advance, "advance", change)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("sabotage", "jobs", "fault", "complaint"),
    [
        (never_ends_a_hold, STORIES[0], no_fault, "end-is-not-once"),
        (sends_the_unknown_again, STORIES[1], no_fault, "the upstream received it 3 times"),
        (holds_the_price_in_a_transaction_of_its_own, STORIES[0], outage(sqlite_error), "hold-is-not-once"),
        (tells_before_it_is_true, STORIES[0], no_fault, "what has no message, or no cause"),
        (sends_twice_what_it_took, QUEUEING, no_fault, "waited: the upstream received it 2 times"),
        (gives_back_what_was_taken, QUEUEING, no_fault, "it left the queue more than once"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
async def test_a_gateway_that_breaks_its_promise_is_caught(  # noqa: PLR0917 - its parameters and a fixture
    theatre: Theatre,
    sabotage: Callable[[pytest.MonkeyPatch], None],
    jobs: tuple[str, ...],
    fault: Fault,
    complaint: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sabotage(monkeypatch)
    _, wrong = await at_every_event(theatre, jobs, playing(theatre, fault), step=1)
    assert complaint in "\n".join(wrong)
