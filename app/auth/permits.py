"""Permits: the right to go on with a stream or a held answer, which ends with the caller's key or token.

One sweep reads the keys and tokens of all calls that are held, however many there are and however quiet they
are, and ends the permits of those that have ended.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, TypeVar

from sqlalchemy import Connection

from app.auth import admin_keys, client_tokens, keys, sessions
from app.auth.client_tokens import ClientToken
from app.auth.principal import Principal, check_key, check_token
from app.auth.sessions import Sessions
from app.db.engines.engine import Database
from app.errors import INVALID_CLIENT_TOKEN, Problem
from app.kit.clock import Clock
from app.kit.log import get_logger
from app.kit.tasks import Tasks

_log = get_logger("auth")
_SWEEP_S: Final = 2.0  # with the time of a read, an end takes effect well within the 5 s that are promised
_LATE_MS: Final = 4000  # after which a stream does not send anything without a sweep
_MAX_AT_ONCE: Final = 500  # keys or tokens in one statement

K = TypeVar("K")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Operator:
    """Whoever calls the admin API: with an admin key, or by a session of the console that acts as it."""

    kid: str
    session_id: str | None = None


@dataclass(eq=False, slots=True)
class Permit:
    """The right of one key, client token or session to be answered; `problem` says why it has ended."""

    principal: Principal | Operator
    began_ms: int
    problem: Problem | None = None
    bells: set[asyncio.Event] = field(default_factory=set)

    @property
    def token(self) -> ClientToken | None:
        """The client token that it is of, if any."""
        return self.principal.token if isinstance(self.principal, Principal) else None

    def end(self, problem: Problem) -> None:
        """Ends the permit, and wakes everybody who holds it."""
        self.problem = problem
        for bell in self.bells:
            bell.set()


class Permits:
    """The permits of all streams and held answers of this process."""

    def __init__(self, db: Database, clock: Clock, tasks: Tasks, open_sessions: Sessions) -> None:
        self._db = db
        self._sessions = open_sessions
        self._clock = clock
        self._tasks = tasks
        self._held: dict[tuple[str, str], Permit] = {}
        self._sweeper: asyncio.Task[None] | None = None
        self._sweep: asyncio.Task[None] | None = None
        self._swept_ms = 0

    def __len__(self) -> int:
        return len(self._held)

    @contextmanager
    def held(self, principal: Principal | Operator, bell: asyncio.Event) -> Iterator[Permit]:
        """Gives a permit for the block, within which its end rings the bell."""
        new = Permit(principal, self._clock.now_ms())
        name = (principal.kid, principal.session_id or (new.token.token_id if new.token else ""))
        permit = self._held.get(name)
        if permit is None or permit.problem is not None:
            permit = self._held[name] = new
        permit.bells.add(bell)
        if self._sweeper is None:
            self._sweeper = self._tasks.start(self._sweep_on(), name="permits", cancel_on_drain=True)
        try:
            yield permit
        finally:
            permit.bells.discard(bell)
            if not permit.bells and self._held.get(name) is permit:
                del self._held[name]
            if not self._held and self._sweeper is not None:
                self._sweeper.cancel()
                self._sweeper = None

    async def judge(self, permit: Permit) -> Problem | None:
        """Returns why the permit has ended, or None; where the sweep is late, it is waited for.

        The problem is everybody's who holds the permit.
        """
        since_ms = self._clock.now_ms() - max(self._swept_ms, permit.began_ms)
        if permit.problem is None and not 0 <= since_ms < _LATE_MS:
            await self._swept()
        return permit.problem

    async def _sweep_on(self) -> None:
        """Sweeps at intervals, until it is cancelled because nobody holds a permit."""
        while True:
            await self._clock.sleep(_SWEEP_S)
            await self._swept()

    async def _swept(self) -> None:
        """Waits for a sweep: the one that is under way, or a new one."""
        if self._sweep is None or self._sweep.done():
            self._swept_ms = self._clock.now_ms()
            self._sweep = self._tasks.start(self._read_all(), name="permits", cancel_on_drain=True)
        await asyncio.shield(self._sweep)

    async def _read_all(self) -> None:
        """Ends the permits whose key, token or session has ended; none where the database does not answer."""
        held = list(self._held.values())
        of_operators = [one for one in held if isinstance(one.principal, Operator)]
        of_keys = [one for one in held if isinstance(one.principal, Principal) and one.token is None]
        try:
            await self._judge_keys(of_keys, keys.find_all, check_key)
            await self._judge_keys(of_operators, admin_keys.find_all, admin_keys.check)
            await self._judge_tokens([one for one in held if one.token is not None])
            await self._judge_sessions([one for one in held if one.principal.session_id is not None])
        except Problem:
            _log.warning("The keys of open streams could not be read; trying again.")
        except Exception:  # noqa: BLE001 - no fault of one sweep may end the streams, or all later sweeps
            _log.exception("The keys of open streams could not be read; trying again.")

    async def _judge_keys(
        self,
        held: Iterable[Permit],
        find_all: Callable[[Connection, Collection[str]], Mapping[str, K]],
        check: Callable[[K | None, int], object],
    ) -> None:
        """Judges by their keys; several permits may be of one: a session acts as its key."""
        by_kid: dict[str, list[Permit]] = {}
        for one in held:
            by_kid.setdefault(one.principal.kid, []).append(one)
        for kids in _parts(by_kid):
            found = await self._db.read(find_all, kids)
            for kid in kids:
                for one in by_kid[kid]:
                    _judge(one, check, found.get(kid), self._clock.now_ms())

    async def _judge_tokens(self, held: Iterable[Permit]) -> None:
        by_id = {one.token.token_id: one for one in held if one.token is not None}
        for token_ids in _parts(by_id):
            found = await self._db.read(client_tokens.find_all, token_ids)
            for token_id in token_ids:
                _judge(by_id[token_id], _check_token, found.get(token_id), self._clock.now_ms())

    async def _judge_sessions(self, held: Iterable[Permit]) -> None:
        by_id = {one.principal.session_id: one for one in held if one.principal.session_id is not None}
        for session_ids in _parts(by_id):
            found = await self._db.read(sessions.find_all, session_ids)
            for session_id in session_ids:
                _judge(by_id[session_id], self._sessions.check, found.get(session_id), self._clock.now_ms())


def _judge(permit: Permit, check: Callable[[T, int], object], row: T, now_ms: int) -> None:
    try:
        check(row, now_ms)
    except Problem as problem:
        permit.end(problem)


def _check_token(token: ClientToken | None, now_ms: int) -> None:
    if token is None:
        raise Problem(INVALID_CLIENT_TOKEN, "This gateway does not know this client token.")
    check_token(token, now_ms)


def _parts(names: Iterable[str]) -> Iterator[list[str]]:
    """Returns the names in sorted parts, none larger than a statement may have."""
    ordered = sorted(names)
    for begin in range(0, len(ordered), _MAX_AT_ONCE):
        yield ordered[begin : begin + _MAX_AT_ONCE]
