"""The credentials that the gateway has for RunComfy: which one a job is sent with, and how well each works.

A generation stays with the credential that it was sent with, since no other can see its job. A credential
that fails is paused for a while; a poll, which costs nothing, shows when it works again. The rows of the
table inform the operator and replicas that start: they never decide about money.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection, bindparam, select, text, update

from app.db.engines.engine import Database
from app.db.engines.writer import commit_soon
from app.db.schema.tables import credentials
from app.db.statements.prepared import Prepared
from app.errors import Problem
from app.kit.clock import Clock
from app.kit.log import Aside, get_logger
from app.upstream.breaker import Condition, Health
from app.upstream.capacity import Capacity
from app.upstream.outcomes import (
    INCONCLUSIVE,
    Exchange,
    Observation,
    Outcome,
    Seen,
    Verdict,
    observe_status,
    parse_retry_after,
)

if TYPE_CHECKING:
    from app.upstream.client import Upstream  # and with it httptools, which commands do without

_log = get_logger("credentials")
NONEXISTENT_ID: Final = "00000000-0000-7000-8000-000000000000"
SANDBOX: Final = "sandbox"
DEFAULT: Final = "default"
"""The names of the sandbox's credential and of the credential in REELGATE_UPSTREAM_TOKEN."""

_UNREACHED: Final = frozenset({Seen.TIMED_OUT, Seen.UNREACHABLE})
_SERVER_ERROR: Final = 500
_WELL: Final = Health()


@dataclass(frozen=True, slots=True)
class Choice:
    """A credential to send a generation with, and how many it may have in flight; None is any number."""

    name: str
    concurrency: int | None = None


@dataclass(slots=True, eq=False)
class Credential:
    """One credential, with the client that uses it.

    Its share of the submits is its `weight` among the weights of all that may be used. `concurrency` is how
    many jobs it may have in flight, None any number; `capacity` is what was learnt of that. One that is not
    `guarded` is never paused: the sandbox fails when a caller asks it to, and other callers must not feel
    that. `saved` is the health in its row. `credit` is its credit in the smooth weighted round-robin.
    """

    name: str
    mode: str
    upstream: "Upstream"
    weight: int = 1
    concurrency: int | None = None
    guarded: bool = True
    health: Health = _WELL
    saved: Health = _WELL
    capacity: Capacity | None = None
    credit: int = field(default=0, repr=False)
    """Its credit in the weighted round-robin."""
    retired: bool = False
    """Whether the operator has removed it: its jobs are followed, and it gets no more."""

    def room(self, now_ms: int) -> int | None:
        """Returns how many jobs it may have in flight now, as configured or as learnt, whichever is less.

        None is any number.
        """
        learnt = None if self.capacity is None else self.capacity.at(now_ms)
        known = [one for one in (self.concurrency, learnt) if one is not None]
        return min(known) if known else None

    def choice(self, now_ms: int, *, queueable: bool) -> Choice:
        """Returns this credential as a choice, with how many generations it may have in flight now.

        The learnt capacity limits only queueable generations; for others RunComfy itself is to refuse.
        """
        return Choice(self.name, self.room(now_ms) if queueable else self.concurrency)


class Pool:
    """Every credential, by name and by mode."""

    def __init__(self, clock: Clock, credentials: Iterable[Credential]) -> None:
        self._clock = clock
        self._all = {one.name: one for one in credentials}

    @property
    def all(self) -> Mapping[str, Credential]:
        """Every credential by its name."""
        return self._all

    def of(self, name: str) -> Credential | None:
        """Returns the credential of that name; None where the operator has removed it."""
        return self._all.get(name)

    def has(self, mode: str) -> bool:
        """Returns whether there is any credential for this mode."""
        return any(one.mode == mode and not one.retired for one in self._all.values())

    def usable(self, mode: str) -> list[Credential]:
        """Returns the credentials of this mode that may be used for submits now."""
        return [
            one
            for one in self._all.values()
            if one.mode == mode and not one.retired and one.health.may_submit
        ]

    def by_weight(self, mode: str) -> list[Credential]:
        """Returns the credentials that may be used now, the next in turn first.

        The order is that of a smooth weighted round-robin.
        """
        usable = self.usable(mode)
        if len(usable) > 1:
            usable.sort(key=lambda one: one.credit + one.weight, reverse=True)
        return usable

    def record_use(self, mode: str, name: str) -> None:
        """Records that the credential of that name has had its turn."""
        self._record_use(self.usable(mode), self._all.get(name))

    def for_submit(self, mode: str, *, queueable: bool) -> tuple[Choice, ...]:
        """Returns the same as `by_weight`, as choices, and records that the first one has had its turn.

        A connection is opened for it meanwhile.
        """
        usable, now_ms = self.by_weight(mode), self._clock.now_ms()
        if usable:
            with Aside("whose turn it is among the credentials"):
                self._record_use(usable, usable[0])
                usable[0].upstream.expect_submit()
        return tuple(one.choice(now_ms, queueable=queueable) for one in usable)

    def _record_use(self, usable: Collection[Credential], used: Credential | None) -> None:
        if len(usable) == 1 and used in usable:
            return  # it is its turn each time
        for one in usable:
            one.credit += one.weight
        if used is not None:
            used.credit -= sum(one.weight for one in usable)

    def with_others(self, name: str) -> tuple[Credential, list[Credential]]:
        """Returns the credential of that name, and the others of its mode that may be used now."""
        credential = self._all[name]
        return credential, [one for one in self.usable(credential.mode) if one is not credential]

    def next_usable(self, mode: str) -> tuple[Health, int]:
        """Returns the health of the credential that may be used again first, and the seconds until then."""
        now_ms = self._clock.now_ms()
        waiting = [one.health for one in self._all.values() if one.mode == mode and not one.retired]
        return min(((one, one.retry_after_s(now_ms)) for one in waiting), key=lambda pair: pair[1])

    def record_submit(self, credential: Credential, outcome: Outcome, *, now_ms: int) -> None:
        """Updates a credential's health from the outcome of a submit."""
        health = credential.health
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
            case Verdict.NOT_SENT | Verdict.UNKNOWN | Verdict.FILE_GONE:
                learnt = health.failed(outcome.reason, now_ms)
            case _:
                learnt = health.answered()
        self._set_health(credential, learnt)

    def record_poll(self, credential: Credential, exchange: Exchange, observation: Observation) -> None:
        """Updates a credential's health from a poll or a cancel."""
        now_ms, health = self._clock.now_ms(), credential.health
        status = exchange.status or 0
        if observation.seen in _UNREACHED or (observation.seen in INCONCLUSIVE and status >= _SERVER_ERROR):
            learnt = health.failed(observation.reason, now_ms)
        elif status == 429:  # noqa: PLR2004 - too many requests
            retry_after_s = parse_retry_after(exchange.headers.get("retry-after"), now_ms=now_ms)
            learnt = health.refused("http_429", now_ms, retry_after_s=retry_after_s, looks_too=True)
        elif observation.seen is Seen.CREDENTIAL_REFUSED and status != 403:  # noqa: PLR2004 - forbidden
            # A 403 is about this one job, which belongs to somebody else: it says nothing about other jobs.
            looks_too = status != 402  # noqa: PLR2004 - payment required
            learnt = health.refused(observation.reason, now_ms, retry_after_s=None, looks_too=looks_too)
        else:
            learnt = health.answered()
        self._set_health(credential, learnt)

    async def record_capacity(
        self, db: Database, credential: Credential, in_flight: Callable[[Connection], int]
    ) -> None:
        """Learns a credential's capacity, as RunComfy has just refused one more job.

        `in_flight` counts the other jobs that it has in flight.
        """
        if not credential.guarded:
            return
        now_ms = self._clock.now_ms()
        with suppress(Problem):  # it will refuse again
            learnt = await db.write(save_capacity, credential.name, in_flight, now_ms=now_ms)
            if learnt is None:
                return
            credential.capacity = learnt
            _log.warning(
                "The upstream accepts no more concurrent jobs; the limit was learnt.",
                credential=credential.name,
                capacity=learnt.learnt,
            )

    def _set_health(self, credential: Credential, learnt: Health) -> None:
        if not credential.guarded:
            return
        before, credential.health = credential.health, learnt
        if before.may_submit and not learnt.may_submit:
            _log.error(
                "A credential is not used for a while.", credential=credential.name, reason=learnt.reason
            )

    async def run_once(self, db: Database) -> int:
        """Tries the credentials whose pause is over, and stores what changed. Returns the number tried."""
        tried = 0
        await self.refresh(db)
        for one in self._all.values():
            if one.health.condition(self._clock.now_ms()) is Condition.HALF_OPEN:
                tried += 1
                await self._try(one)
            if (health := one.health) != one.saved:
                with suppress(Problem):  # the next tick tries again
                    await db.write(save, one.name, health, now_ms=self._clock.now_ms())
                    one.saved = health  # what is learnt during the write is stored by the next tick
        return tried

    async def _try(self, credential: Credential) -> None:
        """Polls a request that cannot exist: a 404 shows that the credential is accepted, at no cost."""
        exchange = await credential.upstream.status(NONEXISTENT_ID)
        observation = observe_status(exchange)
        if observation.seen in INCONCLUSIVE:
            self.record_poll(credential, exchange, observation)
            now_ms = self._clock.now_ms()
            if credential.health.condition(now_ms) is not Condition.OPEN:  # it answered something unusable
                credential.health = credential.health.failed(observation.reason, now_ms)
            return
        credential.health = credential.health.recovered()
        _log.info("A credential is in use again.", credential=credential.name)

    async def refresh(self, db: Database) -> None:
        """Reads the capacities that other replicas learnt."""
        with suppress(Problem):
            known = await db.read(capacities)
            for one in self._all.values():
                one.capacity = known.get(one.name)

    def replace(self, mode: str, credentials: Iterable[Credential]) -> list[Credential]:
        """Takes these credentials over in place of those of a mode, and returns the ones that are new.

        One of a known name keeps its learnt capacity. Its health begins anew where its client is another
        one: it may have been replaced because it was refused. Those that are not among them are retired.
        """
        coming = {one.name: one for one in credentials}
        for one in self._all.values():
            if one.mode != mode:
                continue
            given = coming.pop(one.name, None)
            one.retired = given is None
            if given is None:
                continue
            one.weight, one.concurrency = given.weight, given.concurrency
            if given.upstream is not one.upstream:
                one.upstream.close()
                one.upstream, one.health = given.upstream, _WELL
        self._all = {**self._all, **coming}
        return list(coming.values())

    def close(self) -> None:
        """Closes the clients' connections."""
        for one in self._all.values():
            one.upstream.close()

    async def begin(self, db: Database) -> None:
        """Reads the health that replicas stored earlier, and inserts the rows of new credentials."""
        known = await db.read(stored)
        await self.refresh(db)
        for one in self._all.values():
            if one.name in known:
                one.health = one.saved = known[one.name]
            else:
                await db.write(save, one.name, one.health, now_ms=self._clock.now_ms())


_COLUMNS = ("failures", "openings", "until_ms", "looks_too", "reason")
# One statement, because replicas that start together with a new credential all insert its row.
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

_CAPACITIES = Prepared(
    select(credentials.c.name, credentials.c.capacity, credentials.c.capacity_at_ms).where(
        credentials.c.capacity.is_not(None)
    )
)


def save(connection: Connection, name: str, health: Health, *, now_ms: int) -> None:
    """Stores a credential's health."""
    values = {column: getattr(health, column) for column in _COLUMNS}
    connection.execute(_SAVE, {"name": name, **values, "changed_at_ms": now_ms})


def stored(connection: Connection) -> dict[str, Health]:
    """Returns the health of each credential as it was last stored."""
    return {
        row.name: Health(**{column: getattr(row, column) for column in _COLUMNS})
        for row in connection.execute(select(credentials))
    }


def save_capacity(
    connection: Connection, name: str, in_flight: Callable[[Connection], int], *, now_ms: int
) -> Capacity | None:
    """Stores the number of jobs that a credential has in flight as its capacity, and returns it.

    None where it has no other job in flight: then it was refused for something else, such as too many calls a
    minute.
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
    """Returns the capacity of each credential for which one was ever learnt."""
    return {name: Capacity(learnt, at_ms) for name, learnt, at_ms in _CAPACITIES.all(connection, {})}


def lock(connection: Connection, names: Collection[str]) -> None:
    """Locks these credentials' rows, so that nobody else counts what they have in flight until the commit.

    All are locked in one statement and one order, so that two transactions cannot deadlock.
    """
    commit_soon(connection)
    connection.execute(_LOCK, {"names": list(names)})
