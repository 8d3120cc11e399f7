"""Whatever of ours raises between RunComfy's answer and its record, the record is made.

The places are not listed: a run without a failure says which of our functions are called in between, and then
each of them raises once, in a run of its own.
"""

import asyncio
import dis
import json
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, NoReturn

import pytest
import structlog
from structlog.testing import capture_logs

import app
from app.db.announcements import Announcements
from app.generations import store
from app.generations.dispatch.dispatcher import Dispatcher
from app.generations.following.cancel import Canceller
from app.generations.following.schedule import Durations
from app.generations.following.tracker import Tracker
from app.generations.queue import backlog
from app.generations.store import Generation
from app.upstream.client import Upstream
from app.upstream.credentials import Pool
from tests.harness import World, until

pytestmark = [
    pytest.mark.anyio,
    # Of a coroutine whose consumer was broken.
    pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]

PATIENCE_S = 20.0  # only a hung test ever sees it
OURS = str(Path(app.__file__).parent)
# The database may fail, too: tests/gateway/test_every_event.py lets it, at each of its events.
DATABASE = (f"{OURS}/db/engines/", f"{OURS}/db/statements/prepared.py")
# The event loop calls these once an answer is in hand, and what they raise goes to the loop.
CONNECTIONS = tuple(f"{OURS}/upstream/{name}.py" for name in ("answer", "connection"))
# What makes the record, and what holds errors: a raise in place of these calls is one that no code can meet.
CORE = {
    *(
        "Dispatcher.dispatch",
        "Dispatcher._send",
        "Dispatcher._judge",
        "Dispatcher._conclude",
        "Dispatcher.record",
    ),
    *("Aside.__init__", "Aside.__enter__", "Aside.__exit__"),
    *("Span.__init__", "Span.__enter__", "Span.__exit__", "Span.note"),  # each holds its own in an Aside
    *("Logger.info", "Logger.warning", "Logger.error", "Logger.exception", "Logger._log", "_Output.lose"),
}


@pytest.fixture(autouse=True)
def _silence() -> Iterator[None]:
    """Hundreds of stack traces are slow to print."""
    with capture_logs():
        yield


class Window:
    """From an answer of RunComfy's to the end of what is done about it: which of our functions are called.

    The function `doomed` raises instead of its first call.
    """

    def __init__(self) -> None:
        self.met: list[str] = []
        self.doomed: str | None = None
        self.raised = False
        self._seen: set[CodeType] = set()

    def begin(self, doomed: str | None = None) -> None:
        """Forgets what was met, before another run."""
        self.met, self._seen, self.raised = [], set(), False
        self.doomed = doomed

    def open(self) -> None:
        sys.setprofile(self._on_event)

    @staticmethod
    def close() -> None:
        sys.setprofile(None)

    def _on_event(self, frame: FrameType, event: str, _argument: object) -> None:
        code = frame.f_code
        if event != "call" or code in self._seen or not code.co_filename.startswith(OURS):
            return
        if code.co_filename.startswith(DATABASE + CONNECTIONS):
            return
        if frame.f_lasti > _start_of(code):  # a coroutine goes on
            return
        self._seen.add(code)
        if code.co_qualname in CORE:
            return
        self.met.append(code.co_qualname)
        if code.co_qualname == self.doomed and not self.raised:
            self.raised = True
            raise RuntimeError(f"{self.doomed} is broken on purpose")


@cache
def _start_of(code: CodeType) -> int:
    return next(one.offset for one in dis.get_instructions(code) if one.opname == "RESUME")


@contextmanager
def window(begins: tuple[str, ...], ends: tuple[type, str]) -> Iterator[Window]:
    """Opens when one of these calls of RunComfy returns, and closes when that of ours does."""
    found = Window()
    with pytest.MonkeyPatch.context() as patch:
        for name in begins:
            call: Callable[..., Awaitable[Any]] = getattr(Upstream, name)

            async def called(
                self: Upstream, *arguments: Any, _call: Callable[..., Awaitable[Any]] = call, **more: Any
            ) -> Any:
                found.close()  # what happens before an answer is no business of this test
                answer = await _call(self, *arguments, **more)
                found.open()
                return answer

            patch.setattr(Upstream, name, called)
        owner, name = ends
        work: Callable[..., Awaitable[Any]] = getattr(owner, name)

        async def worked(self: Any, *arguments: Any, **more: Any) -> Any:
            try:
                return await work(self, *arguments, **more)
            finally:
                found.close()

        patch.setattr(owner, name, worked)
        yield found
    found.close()


async def at_every_function(of: Window, act: Callable[[], Awaitable[None]], *, least: int) -> None:
    """Acts once without a failure, and then once for each function that was called meanwhile."""
    for _ in range(2):  # the first time also calls what is called once in a process
        of.begin()
        await act()
    places = list(dict.fromkeys(of.met))
    met = 0
    for place in places:
        of.begin(place)
        try:
            async with asyncio.timeout(PATIENCE_S):
                await act()
        except (AssertionError, TimeoutError) as error:
            raise AssertionError(f"where {place} raises: {error}") from error
        met += of.raised
    assert met >= least, places  # a function of another task need not be called each time


async def at_rest(world: World) -> None:
    async with world.clock.flowing():
        await until(lambda: not world.gateway.tasks._running)


async def the_newest(world: World) -> Generation:
    world.clock.advance(1)  # the next one is newer
    (found,) = await world.gateway.db.read(store.page, world.tenant_id, mode="test", limit=1)
    return found


def reason_of(row: Generation) -> str:
    reason: str = json.loads(row.evidence_text or "{}").get("reason")
    return reason


@pytest.mark.parametrize(
    ("directive", "state"),
    [
        ("canned", "in_queue"),
        ("html,canned", "unknown"),
        ("rate-limit=1,canned", "rejected"),
    ],
)
async def test_an_answer_to_a_submit_is_recorded_whatever_raises_meanwhile(
    world: World, directive: str, state: str
) -> None:
    async def act() -> None:
        async with world.clock.flowing():
            await world.submit(directive)
        await at_rest(world)
        row = await the_newest(world)
        if row.state == "unknown" and state != "unknown":  # it is kept for the operator, but not understood
            assert reason_of(row) == "not_judged"
            assert json.loads(row.evidence_text or "")["body"]
            return
        assert row.state == state
        assert row.charge == ("refunded" if state == "rejected" else "held")
        jobs = world.received()
        assert row.upstream_request_id == (jobs[0]["request_id"] if state == "in_queue" else None)

    with window(("submit",), (Dispatcher, "dispatch")) as found:
        await at_every_function(found, act, least=15)


@pytest.mark.parametrize("world_settings", [{"queueing": True}])
async def test_a_queued_request_that_is_sent_is_recorded_whatever_raises_meanwhile(world: World) -> None:
    async def act() -> None:
        await world.gateway.db.write(backlog.pause, ["test"], 1)
        await world.submitted()
        await world.gateway.db.write(backlog.pause, ["test"], None)
        async with world.clock.flowing():
            await world.gateway.dispatch_loop.run_once()
        await at_rest(world)
        row = await the_newest(world)
        if row.state == "unknown":
            assert reason_of(row) == "not_judged"
            return
        (job,) = world.received()
        assert (row.state, row.upstream_request_id) == ("in_queue", job["request_id"])

    with window(("submit",), (Dispatcher, "dispatch")) as found:
        await at_every_function(found, act, least=15)


async def test_a_job_that_has_ended_is_recorded_by_a_later_poll_whatever_raises_in_one(world: World) -> None:
    async def act() -> None:
        request_id = await world.submitted()
        world.sandbox.clock.now += world.sandbox.options.queue_s + world.sandbox.options.run_s
        (job,) = world.received()
        await until(lambda: world.sandbox.result(job["request_id"])["status"] == "succeeded")
        with suppress(AssertionError):  # a 500
            await world.result(request_id)
        found.doomed = None
        world.clock.advance(world.gateway.following.tracker.lease_s)
        result = await world.finish(request_id)
        assert (result["status"], bool(result["output"])) == ("succeeded", True)

    with window(("status", "result"), (Tracker, "_poll_claimed")) as found:
        await at_every_function(found, act, least=15)


async def test_a_cancelled_job_is_cancelled_here_whatever_raises_meanwhile(world: World) -> None:
    async def act() -> None:
        request_id = await world.submitted("queued")
        await world.client.post(f"/v1/requests/{request_id}/cancel")
        world.clock.advance(world.gateway.following.tracker.lease_s)
        found.doomed = None
        record = await world.record(request_id)
        assert (record["state"], record["charge"]) == ("cancelled", "refunded")

    with window(("cancel",), (Canceller, "cancel")) as found:
        await at_every_function(found, act, least=8)


@contextmanager
def nothing_aside_works(world: World) -> Iterator[None]:
    """Every line of the log, every announcement and every note about a credential raises, each time."""

    def broken(*_: object, **__: object) -> NoReturn:
        raise OSError("broken on purpose")

    before = structlog.get_config()
    structlog.configure(processors=[broken])
    announcements = world.gateway.db.announcements
    announcements.subscribe((world.tenant_id, "test"), broken)
    with pytest.MonkeyPatch.context() as patch:
        for owner, name in (
            *((Pool, name) for name in dir(Pool) if name.startswith("record_")),
            (Durations, "learn"),
            (Announcements, "_send"),
        ):
            patch.setattr(owner, name, broken)
        yield
    announcements.unsubscribe((world.tenant_id, "test"), broken)
    structlog.configure(**before)


async def test_a_job_is_made_followed_and_cancelled_while_nothing_aside_works(world: World) -> None:
    with nothing_aside_works(world):
        done, cancelled = await world.submitted(), await world.submitted("queued")
        assert len(world.received(world.marks[0])) == 1
        answer = await world.client.post(f"/v1/requests/{cancelled}/cancel")
        assert answer.json()["outcome"] == "cancelled"
        assert (await world.finish(done))["status"] == "succeeded"
        async with world.clock.flowing():
            assert (await world.submit("html,canned")).status_code == 504
        assert (await the_newest(world)).state == "unknown"
