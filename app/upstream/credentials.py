"""The credentials that we hold for the upstream: which one a job is sent with, and how each of them fares.

A generation stays with the credential that made it, since no other can see it. Who fares badly is left alone
for a while; a look that costs nothing tells when it is well again. The rows of the table are for the operator
and for servers that start: they never decide about money.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import Connection, bindparam, select, text, update

from app.db.engine import Database
from app.db.tables import credentials
from app.errors import Problem
from app.kit.clock import Clock
from app.kit.log import get_logger
from app.upstream.breaker import Condition, Health
from app.upstream.capacity import Capacity
from app.upstream.client import Upstream
from app.upstream.outcomes import (
    BLIND,
    Exchange,
    Observation,
    Outcome,
    Seen,
    Verdict,
    observe_status,
    parse_retry_after,
)

_log = get_logger("credentials")
NOBODYS_ID: Final = "00000000-0000-7000-8000-000000000000"
SANDBOX: Final = "sandbox"
DEFAULT: Final = "default"
"""The names of the sandbox's credential, and of the one of REELGATE_UPSTREAM_TOKEN."""

_UNREACHED: Final = frozenset({Seen.TIMED_OUT, Seen.UNREACHABLE})
_SERVER_ERROR: Final = 500
_WELL: Final = Health()


@dataclass(frozen=True, slots=True)
class Choice:
    """A credential to send a generation with, and how many it may have in flight; None: any number."""

    name: str
    concurrency: int | None = None


@dataclass(slots=True, eq=False)
class Credential:
    """One credential, with the client that carries it.

    Of the `weight`s of all that may be used, its own is its share of the submits. `concurrency` is how many
    jobs it may have in flight; None is as many as come. `capacity` is what was learnt of that. One that is
    not `guarded` is never left alone: the sandbox fails when a caller asks it to, and that is not to be felt
    by another.
    """

    name: str
    mode: str
    upstream: Upstream
    weight: int = 1
    concurrency: int | None = None
    guarded: bool = True
    health: Health = _WELL
    saved: Health = _WELL
    capacity: Capacity | None = None
    credit: int = field(default=0, repr=False)
    """Of the weighted round-robin."""

    def room(self, now_ms: int) -> int | None:
        """How many jobs it may have in flight now: as configured or, where that is less, as was learnt."""
        learnt = None if self.capacity is None else self.capacity.at(now_ms)
        known = [one for one in (self.concurrency, learnt) if one is not None]
        return min(known) if known else None

    def choice(self, now_ms: int, *, queueable: bool) -> Choice:
        """Returns this credential as a choice, with how many generations it may have in flight now.

        What was learnt of that keeps back what may wait; for what may not the upstream is to say it itself.
        """
        return Choice(self.name, self.room(now_ms) if queueable else self.concurrency)


class Pool:
    """Every credential, by name and by kind of key."""

    def __init__(self, clock: Clock, credentials: Iterable[Credential]) -> None:
        self._clock = clock
        self._all = {one.name: one for one in credentials}

    @property
    def all(self) -> Mapping[str, Credential]:
        """Every credential by its name."""
        return self._all

    def of(self, name: str) -> Credential | None:
        """The credential of that name; None where the operator has removed it."""
        return self._all.get(name)

    def has(self, mode: str) -> bool:
        """Whether there is any for this kind of key."""
        return any(one.mode == mode for one in self._all.values())

    def usable(self, mode: str) -> list[Credential]:
        """Those that may be used now."""
        return [one for one in self._all.values() if one.mode == mode and one.health.may_submit]

    def in_turn(self, mode: str) -> list[Credential]:
        """Those that may be used now, the one first whose turn it is (smooth weighted round-robin)."""
        return sorted(self.usable(mode), key=lambda one: one.credit + one.weight, reverse=True)

    def spend_turn(self, mode: str, name: str) -> None:
        """Note that one of those that may be used now had its turn."""
        usable = self.usable(mode)
        for one in usable:
            one.credit += one.weight
        if name in self._all:
            self._all[name].credit -= sum(one.weight for one in usable)

    def for_submit(self, mode: str) -> list[Credential]:
        """As `in_turn`, for whoever uses the first of them."""
        usable = self.in_turn(mode)
        if usable:
            self.spend_turn(mode, usable[0].name)
        return usable

    def soonest(self, mode: str) -> tuple[Health, int]:
        """The health of the one that may be used again first, and the seconds until then."""
        now_ms = self._clock.now_ms()
        waiting = [one.health for one in self._all.values() if one.mode == mode]
        return min(((one, one.retry_after_s(now_ms)) for one in waiting), key=lambda pair: pair[1])

    def record_submit(self, credential: Credential, outcome: Outcome) -> None:
        """Learn from what became of a submit."""
        now_ms, health = self._clock.now_ms(), credential.health
        match outcome.verdict:
            case Verdict.ACCEPTED:
                learnt = health.accepted()
            case Verdict.REJECTED_CREDENTIAL:
                looks_too = outcome.reason == "http_401"
                learnt = health.refused(outcome.reason, now_ms, retry_after_s=None, looks_too=looks_too)
            case Verdict.BUSY:
                learnt = health.refused(
                    outcome.reason, now_ms, retry_after_s=outcome.retry_after_s, looks_too=False
                )
            case Verdict.NOT_SENT | Verdict.UNKNOWN:
                learnt = health.failed(outcome.reason, now_ms)
            case _:
                learnt = health.answered()
        self._learn(credential, learnt)

    def record_poll(self, credential: Credential, exchange: Exchange, observation: Observation) -> None:
        """Learn from a look at a job, or a cancel."""
        now_ms, health = self._clock.now_ms(), credential.health
        status = exchange.status or 0
        if observation.seen in _UNREACHED or (observation.seen in BLIND and status >= _SERVER_ERROR):
            learnt = health.failed(observation.reason, now_ms)
        elif status == 429:  # noqa: PLR2004 - too many requests
            retry_after_s = parse_retry_after(exchange.headers.get("retry-after"), now_ms=now_ms)
            learnt = health.refused("http_429", now_ms, retry_after_s=retry_after_s, looks_too=True)
        elif observation.seen is Seen.CREDENTIAL_REFUSED and status != 403:  # noqa: PLR2004 - forbidden
            # A 403 is of this one job, which is somebody else's: it says nothing of the others.
            looks_too = status != 402  # noqa: PLR2004 - payment required
            learnt = health.refused(observation.reason, now_ms, retry_after_s=None, looks_too=looks_too)
        else:
            learnt = health.answered()
        self._learn(credential, learnt)

    async def record_capacity(
        self, db: Database, credential: Credential, in_flight: Callable[[Connection], int]
    ) -> None:
        """Learn how many jobs the upstream lets a credential have, as it has just refused one more."""
        if not credential.guarded:
            return
        now_ms = self._clock.now_ms()
        with suppress(Problem):  # it will refuse again
            learnt = await db.write(learn_capacity, credential.name, in_flight, now_ms=now_ms)
            if learnt is None:
                return
            credential.capacity = learnt
            _log.warning(
                "The upstream takes no more jobs at a time; the others wait for a place.",
                credential=credential.name,
                capacity=learnt.learnt,
            )

    def _learn(self, credential: Credential, learnt: Health) -> None:
        if not credential.guarded:
            return
        before, credential.health = credential.health, learnt
        if before.may_submit and not learnt.may_submit:
            _log.error(
                "A credential is left alone for a while.", credential=credential.name, reason=learnt.reason
            )

    async def run_once(self, db: Database) -> int:
        """Try those whose pause is over, and store what changed. How many were tried."""
        tried = 0
        await self.refresh(db)
        for one in self._all.values():
            if one.health.condition(self._clock.now_ms()) is Condition.HALF_OPEN:
                tried += 1
                await self._try(one)
            if (health := one.health) != one.saved:
                with suppress(Problem):  # the next tick tries again
                    await db.write(save, one.name, health, now_ms=self._clock.now_ms())
                    one.saved = health  # what has been learnt meanwhile is stored by the next tick
        return tried

    async def _try(self, credential: Credential) -> None:
        """Ask for a request that cannot exist: a 404 shows that the credential is taken, at no cost."""
        exchange = await credential.upstream.status(NOBODYS_ID)
        observation = observe_status(exchange)
        if observation.seen in BLIND:
            self.record_poll(credential, exchange, observation)
            now_ms = self._clock.now_ms()
            if credential.health.condition(now_ms) is not Condition.OPEN:  # answered, and not like RunComfy
                credential.health = credential.health.failed(observation.reason, now_ms)
            return
        credential.health = credential.health.recovered()
        _log.info("A credential is in use again.", credential=credential.name)

    async def refresh(self, db: Database) -> None:
        """Learn what other servers learnt of capacities."""
        with suppress(Problem):
            known = await db.read(capacities)
            for one in self._all.values():
                one.capacity = known.get(one.name)

    async def begin(self, db: Database) -> None:
        """Begin with what another server, or this one before, knew; every credential has its row then."""
        known = await db.read(stored)
        await self.refresh(db)
        for one in self._all.values():
            if one.name in known:
                one.health = one.saved = known[one.name]
            else:
                await db.write(save, one.name, one.health, now_ms=self._clock.now_ms())


_COLUMNS = ("failures", "openings", "until_ms", "looks_too", "reason")
# In one statement: servers that start together with a new credential all make its row.
_SAVE = text(
    """
    INSERT INTO credentials (name, failures, openings, until_ms, looks_too, reason, changed_at_ms)
    VALUES (:name, :failures, :openings, :until_ms, :looks_too, :reason, :changed_at_ms)
    ON CONFLICT (name) DO UPDATE SET
        failures = excluded.failures, openings = excluded.openings, until_ms = excluded.until_ms,
        looks_too = excluded.looks_too, reason = excluded.reason, changed_at_ms = excluded.changed_at_ms
    """
)
_LOCK = (
    select(credentials.c.name)
    .where(credentials.c.name.in_(bindparam("names", expanding=True)))
    .order_by(credentials.c.name)
    .with_for_update()
)


def save(connection: Connection, name: str, health: Health, *, now_ms: int) -> None:
    """Store how a credential fares."""
    values = {column: getattr(health, column) for column in _COLUMNS}
    connection.execute(_SAVE, {"name": name, **values, "changed_at_ms": now_ms})


def stored(connection: Connection) -> dict[str, Health]:
    """How each credential fared when a server last said so."""
    return {
        row.name: Health(**{column: getattr(row, column) for column in _COLUMNS})
        for row in connection.execute(select(credentials))
    }


def learn_capacity(
    connection: Connection, name: str, in_flight: Callable[[Connection], int], *, now_ms: int
) -> Capacity | None:
    """Store how many jobs a credential has in flight: one more was refused. None where it has none.

    Then it was refused for something else, such as too many calls a minute.
    """
    count = in_flight(connection)
    if count < 1:
        return None
    learnt = Capacity(count, now_ms)
    connection.execute(
        update(credentials)
        .where(credentials.c.name == name)
        .values(capacity=learnt.learnt, capacity_at_ms=learnt.at_ms)
    )
    return learnt


def capacities(connection: Connection) -> dict[str, Capacity]:
    """What was learnt of each credential that was ever refused one more job."""
    rows = connection.execute(
        select(credentials.c.name, credentials.c.capacity, credentials.c.capacity_at_ms).where(
            credentials.c.capacity.is_not(None)
        )
    )
    return {name: Capacity(capacity, at_ms) for name, capacity, at_ms in rows}


def lock(connection: Connection, names: Collection[str]) -> None:
    """Keep everybody else from counting what these have in flight until the commit.

    All at once and in one order: who held one while waiting for another would meet one who does the reverse.
    """
    connection.execute(_LOCK, {"names": list(names)})
