"""Subscriptions to a generation or to a tenant's events: any number of subscribers costs what one does.

Each subject, which is one generation or one tenant's events in one mode, has one task in this process that
reads it when a change is announced, and at intervals in case an announcement was lost. Subscribers wait in
memory for what it finds, and hold no resources of their own: a slow one delays nobody.
"""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Final, Generic, NamedTuple, TypeVar

from app.auth.keys import Mode
from app.db.announcements import Subject
from app.db.engines.engine import Database
from app.errors import SHUTTING_DOWN, TOO_MANY_STREAMS, Problem
from app.generations import events as event_rows
from app.generations.events import AnyEvent, Event
from app.generations.following.changes import Changes, Kind
from app.generations.following.tracker import Tracker
from app.generations.store import Generation
from app.kit.clock import Clock, wait_for_event
from app.kit.log import get_logger
from app.kit.tasks import Tasks

_log = get_logger("watch")
_PAGE = 500
_MAX_KEPT = 2000  # of a tenant's newest events in memory; a subscriber further behind reads the rows
_RETRY_AFTER_S = 5

K = TypeVar("K", bound=Subject)
V = TypeVar("V")


class StreamOwner(NamedTuple):
    """Whom a subscriber is counted for: a tenant, and its client token where one is used."""

    tenant_id: str
    token_id: str | None = None


OPERATORS: Final = StreamOwner("")
"""Whom the streams of all operators are counted for, as if they were one tenant."""


@dataclass(frozen=True, slots=True)
class View:
    """A generation with its events, as of one moment."""

    generation: Generation
    events: tuple[Event, ...]

    @property
    def mark(self) -> tuple[int, int | None]:
        """What differs after a change that subscribers want to see."""
        return self.generation.version, self.generation.queue_position


@dataclass(frozen=True, slots=True)
class Tail:
    """A tenant's newest events, in order and without a gap. `last` is the number of its last event."""

    last: int
    newest: tuple[AnyEvent, ...]

    def after(self, number: int) -> tuple[AnyEvent, ...] | None:
        """Returns the events after that number; None where not all of them are kept here."""
        if not self.newest:
            return () if number >= self.last else None
        skipped = number + 1 - self.newest[0].number
        return None if skipped < 0 else self.newest[skipped:]


class Shared(Generic[V]):
    """A subject that one task reads on behalf of all subscribers who wait for its changes."""

    def __init__(self, read: Callable[[V | None], Awaitable[V]], clock: Clock, interval_s: float) -> None:
        self._read = read
        self._clock = clock
        self._interval_s = interval_s
        self._woken = asyncio.Event()
        self.bells: set[asyncio.Event] = set()
        self.value: V | None = None
        self.serial = 0

    @property
    def watchers(self) -> int:
        """The number of subscribers."""
        return len(self.bells)

    def wake(self, _: object = None) -> None:
        """Makes the task read at once: something may have changed. It listens for announcements."""
        self._woken.set()

    def ring(self) -> None:
        """Wakes all subscribers."""
        for bell in self.bells:
            bell.set()

    async def run(self) -> None:
        """Reads the subject again and again while it has subscribers.

        It ends by itself, between two reads: a read is never cut off.
        """
        while self.watchers:
            self._woken.clear()
            try:
                value = await self._read(self.value)
            except Exception:  # noqa: BLE001 - subscribers wait for the next value
                _log.exception("Watched requests could not be read; trying again.")
            else:
                if self.value is None or value != self.value:
                    self.value = value
                    self.serial += 1
                    self.ring()
            await wait_for_event(self._woken, self._clock, within_s=self._interval_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """The subjects that have subscribers in this process.

    A subscriber is an event stream or a response held open.

    `interval_s` is how long a lost announcement may go unnoticed. In one process a tenant may have
    `max_per_tenant` subscribers at a time, each of its client tokens `max_per_token`.
    """

    db: Database
    clock: Clock
    tracker: Tracker
    tasks: Tasks
    interval_s: float
    max_per_tenant: int
    max_per_token: int
    closing: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _generations: dict[str, Shared[View]] = field(default_factory=dict, init=False)
    _tenants: dict[tuple[str, str], Shared[Tail]] = field(default_factory=dict, init=False)
    _changes: Changes = field(default_factory=Changes, init=False)
    _watchers: Counter[str] = field(default_factory=Counter, init=False)
    _of_tokens: Counter[str] = field(default_factory=Counter, init=False)

    def close(self) -> None:
        """Ends every wait, so that streams end and responses held open are sent."""
        self.closing.set()
        for shared in self._all():
            shared.ring()
        self._changes.ring()

    @property
    def watchers(self) -> int:
        """The number of subscribers."""
        return self._watchers.total()

    @contextmanager
    def place(self, watcher: StreamOwner) -> Iterator[None]:
        """Counts as one of the tenant's subscribers for the block.

        Raises:
            Problem: TOO_MANY_STREAMS; SHUTTING_DOWN.

        """
        if self.closing.is_set():
            raise Problem(SHUTTING_DOWN, "This server is shutting down.", retry_after_s=1)
        if self.full(watcher):
            whose = "Your tenant has" if watcher != OPERATORS else "Operators have"
            detail = f"{whose} {self.max_per_tenant} event streams and long polls open on this server."
            if watcher.token_id is not None:
                alone = self._watchers[watcher.tenant_id] < self.max_per_tenant
                has = (
                    f"This client token has {self.max_per_token}" if alone else "The application has too many"
                )
                detail = f"{has} event streams and long polls open on this server."
            raise Problem(TOO_MANY_STREAMS, detail, retry_after_s=_RETRY_AFTER_S)
        counted = [(self._watchers, watcher.tenant_id)]
        if watcher.token_id is not None:
            counted.append((self._of_tokens, watcher.token_id))
        for counter, name in counted:
            counter[name] += 1
        try:
            yield
        finally:
            for counter, name in counted:
                counter[name] -= 1
                if not counter[name]:
                    del counter[name]

    def full(self, watcher: StreamOwner) -> bool:
        """Returns whether `place` would refuse."""
        of_token = self._of_tokens[watcher.token_id] if watcher.token_id is not None else 0
        return (
            self.closing.is_set()
            or self._watchers[watcher.tenant_id] >= self.max_per_tenant
            or of_token >= self.max_per_token
        )

    async def until(
        self,
        generation: Generation,
        done: Callable[[Generation], bool],
        *,
        within_s: float,
        bell: asyncio.Event | None = None,
        given_up: Callable[[], bool] = lambda: False,
    ) -> Generation:
        """Returns the generation once it is `done`, or as it is after `within_s` seconds.

        It returns earlier where the server is stopping, and where the wait is `given_up`: whoever gives it up
        rings the `bell`.
        """
        until_ms = self.clock.now_ms() + int(within_s * 1000)
        bell = bell or asyncio.Event()
        async with self.of_generation(generation.id, bell) as shared:
            while (left_ms := until_ms - self.clock.now_ms()) > 0:
                if self.closing.is_set() or given_up():
                    break
                bell.clear()
                if shared.value is not None and done(shared.value.generation):
                    return shared.value.generation
                await wait_for_event(bell, self.clock, within_s=left_ms / 1000)
        return await self.tracker.find(generation.id, generation.tenant_id) or generation

    @asynccontextmanager
    async def of_generation(self, generation_id: str, bell: asyncio.Event) -> AsyncIterator[Shared[View]]:
        """Subscribes to one generation for the block; every new value rings the subscriber's bell.

        The same bell may serve for any number of subjects, and for whatever else wakes the subscriber.
        """

        async def read(before: View | None) -> View:
            found = await self.tracker.find(generation_id, None)
            if found is None:
                raise LookupError(generation_id)
            generation = await self.tracker.refresh(found)
            if before is not None and before.mark == (generation.version, generation.queue_position):
                return before
            events = await self.db.read(event_rows.of_generation, generation_id)
            return View(generation, tuple(one for one in events if one.version <= generation.version))

        async with self._watching(self._generations, generation_id, read, bell) as shared:
            yield shared

    @asynccontextmanager
    async def of_tenant(self, tenant_id: str, mode: Mode, bell: asyncio.Event) -> AsyncIterator[Shared[Tail]]:
        """Subscribes to all events of a tenant and mode for the block; every new value rings the bell."""
        kept: deque[AnyEvent] = deque(maxlen=_MAX_KEPT)

        async def read(before: Tail | None) -> Tail:
            last = before.last if before else await self.db.read(event_rows.last_number, tenant_id, mode)
            found: list[AnyEvent] = []
            while page := await self.db.read(event_rows.after, tenant_id, mode, last, limit=_PAGE):
                found += page
                last = page[-1].number
            if before and not found:
                return before
            kept.extend(found)  # all of them or, where a read fails, none: the next read finds them again
            return Tail(last, tuple(kept))

        async with self._watching(self._tenants, (tenant_id, mode), read, bell) as shared:
            yield shared

    @contextmanager
    def of_everything(self, bell: asyncio.Event) -> Iterator[Mapping[Kind, int]]:
        """Subscribes to changes of all tenants for the block: their numbers by kind; each rings the bell."""
        with self._changes.heard(self.db.announcements, bell) as numbers:
            yield numbers

    @asynccontextmanager
    async def _watching(
        self,
        all_of_them: dict[K, Shared[V]],
        key: K,
        read: Callable[[V | None], Awaitable[V]],
        bell: asyncio.Event,
    ) -> AsyncIterator[Shared[V]]:
        shared = all_of_them.get(key)
        if shared is None:
            shared = all_of_them[key] = Shared(read, self.clock, self.interval_s)
        shared.bells.add(bell)
        if shared.watchers == 1:
            self.db.announcements.subscribe(key, shared.wake)
            self.tasks.start(shared.run(), name="watch", cancel_on_drain=True)
        try:
            yield shared
        finally:
            shared.bells.discard(bell)
            if not shared.watchers:
                del all_of_them[key]
                self.db.announcements.unsubscribe(key, shared.wake)
                shared.wake()

    def _all(self) -> "list[Shared[View] | Shared[Tail]]":
        return [*self._generations.values(), *self._tenants.values()]
