"""Calls of the admin API: a change, the record of its Idempotency-Key and its audit row are one transaction.

A use case writes with `gateway.db.write`, once. It is given a gateway whose `write` runs its function between
the two parts of the record: first the key is claimed, and what the caller read is compared with what is
there; at the end the answer is stored. Where the use case is refused, nothing of this is kept, and a call
with the same key is carried out anew. A secret in the answer, such as a new key, is not stored: a repeated
call is answered without it. What is done in steps, such as erasing, has a transaction and an audit row for
each; its record is made at the end, so a call that was cut off is carried out anew, and finds less to do.
"""

import hashlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Concatenate, Final, ParamSpec, TypeVar, cast

from sqlalchemy import Connection, select, tuple_

from app.admin import audit
from app.admin.actor import Actor
from app.admin.operation import Operation
from app.admin.session import AdminGateway, Models
from app.config import Settings
from app.db.engines.engine import Database
from app.db.schema.tables import admin_calls
from app.db.statements.upsert import insert_of
from app.errors import IDEMPOTENCY_MISMATCH, PRECONDITION_FAILED, Problem
from app.kit.clock import Clock
from app.kit.json import dumps, from_column, to_column
from app.kit.log import trace_id_var

P = ParamSpec("P")
R = TypeVar("R")

_VOLATILE: Final = frozenset(
    {
        *("state", "last_used_at", "in_effect", "standings", "refused_models"),
        *("health", "previous_secret_ends_at", "public_keys", "changed_at"),
    }
)
"""Members of a document that change without an edit: they are no part of its entity tag."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A change that somebody asks for. `kid` is that of their admin key, or of a person's record.

    `tags` are the entity tags in `If-Match`; None: none was sent.
    """

    kid: str
    actor: Actor
    idempotency_key: str
    fingerprint: str
    tags: frozenset[str] | None


@dataclass(frozen=True, slots=True)
class Answer:
    """The document that answers a change, and whether it is that of an earlier call with the same key."""

    document: Mapping[str, Any]
    replayed: bool


def fingerprint_of(operation: Operation[Any], path: str, body: Mapping[str, Any]) -> str:
    """Returns what is equal for two calls that ask for the same."""
    return hashlib.sha256(dumps([operation.name, path, body], sort_keys=True)).hexdigest()


def tag_of(document: Mapping[str, Any]) -> str:
    """Returns a document's strong entity tag, which changes when the document is edited."""
    kept = {name: value for name, value in document.items() if name not in _VOLATILE}
    return f'"{hashlib.sha256(dumps(kept, sort_keys=True)).hexdigest()[:32]}"'


async def perform(
    gateway: AdminGateway, operation: Operation[Any], arguments: Mapping[str, Any], call: Call
) -> Answer:
    """Carries out a change once for its Idempotency-Key, and returns its answer.

    Raises:
        Problem: IDEMPOTENCY_MISMATCH, PRECONDITION_FAILED, or what the use case raises; nothing was changed.

    """
    if (stored := await gateway.db.read(_stored, call)) is not None:
        return stored
    recording = _RecordingGateway(gateway, operation, arguments, call)
    if operation.in_steps:
        done = operation.document(gateway, await operation.function(gateway, call.actor, **arguments))
        kept = await gateway.db.write(recording.keep, done)
        return Answer(done, replayed=False) if kept is None else kept
    try:
        result = await operation.function(recording, call.actor, **arguments)
    except (Problem, _TakenError):
        # A call with the same key may have been first, and this one found things as that left them.
        if (stored := await gateway.db.read(_stored, call)) is not None:
            return stored
        raise
    return Answer(operation.document(gateway, result), replayed=False)


_BATCH: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class CallUpkeep:
    """Removes the records of calls that are older than `keep_s` seconds."""

    gateway: AdminGateway
    keep_s: float

    async def run_once(self) -> int:
        """Removes what is due, and returns how much that was."""
        removed, count = 0, _BATCH
        while count == _BATCH:
            before_ms = self.gateway.clock.now_ms() - int(self.keep_s * 1000)
            count = await self.gateway.db.write(_forget, before_ms)
            removed += count
        return removed


def _forget(connection: Connection, before_ms: int) -> int:
    key = (admin_calls.c.kid, admin_calls.c.idempotency_key)
    old = select(*key).where(admin_calls.c.at_ms < before_ms).order_by(admin_calls.c.at_ms).limit(_BATCH)
    return connection.execute(admin_calls.delete().where(tuple_(*key).in_(old))).rowcount


class _TakenError(Exception):
    """Another call has claimed the Idempotency-Key."""


def _stored(connection: Connection, call: Call) -> Answer | None:
    row = connection.execute(
        select(admin_calls.c.fingerprint, admin_calls.c.answer).where(
            admin_calls.c.kid == call.kid, admin_calls.c.idempotency_key == call.idempotency_key
        )
    ).one_or_none()
    if row is None:
        return None
    if row.fingerprint != call.fingerprint:
        raise Problem(IDEMPOTENCY_MISMATCH, "This Idempotency-Key was used for a different change.")
    return Answer(from_column(row.answer), replayed=True)


class _RecordingGateway:
    """The gateway that a use case is given: the one write of the use case is recorded with its call."""

    def __init__(
        self, gateway: AdminGateway, operation: Operation[Any], arguments: Mapping[str, Any], call: Call
    ) -> None:
        self._gateway = gateway
        self._operation = operation
        self._arguments = arguments
        self._call = call
        self.db = cast("Database", _RecordingDatabase(gateway.db, self._around))

    @property
    def settings(self) -> Settings:
        return self._gateway.settings

    @property
    def clock(self) -> Clock:
        return self._gateway.clock

    @property
    def catalog(self) -> Models:
        return self._gateway.catalog

    def __getattr__(self, name: str) -> Any:
        """Returns what else a whole gateway has, for use cases that need one."""
        return getattr(self._gateway, name)

    def _around(self, connection: Connection, function: Callable[[Connection], R]) -> R:
        audit.lock_head(connection)  # before any other lock, as every change of an operator's does
        self._claim(connection)
        self._compare(connection)
        result = function(connection)
        document = dict(self._operation.document(self._gateway, result))
        if self._operation.reveals is not None:
            document[self._operation.reveals] = None
        self._answer(connection, document)
        return result

    def keep(self, connection: Connection, document: Mapping[str, Any]) -> Answer | None:
        """Records the answer of what was done in steps; returns another one's, if that was first.

        Where the key was used for a different change meanwhile, what was done is told, and not recorded.
        """
        try:
            self._claim(connection)
        except _TakenError:
            with suppress(Problem):
                return _stored(connection, self._call)
            return None
        self._answer(connection, document)
        return None

    def _answer(self, connection: Connection, document: Mapping[str, Any]) -> None:
        connection.execute(
            admin_calls.update()
            .where(
                admin_calls.c.kid == self._call.kid,
                admin_calls.c.idempotency_key == self._call.idempotency_key,
            )
            .values(answer=to_column(document))
        )

    def _claim(self, connection: Connection) -> None:
        """Claims the key; on PostgreSQL, waits for a transaction that has claimed it and is not over yet."""
        claimed = connection.execute(
            insert_of(connection, admin_calls)
            .values(
                kid=self._call.kid,
                idempotency_key=self._call.idempotency_key,
                fingerprint=self._call.fingerprint,
                operation=self._operation.name,
                answer="",
                at_ms=self._gateway.clock.now_ms(),
                trace_id=trace_id_var.get() or None,
            )
            .on_conflict_do_nothing()
            .returning(admin_calls.c.kid)  # the count of inserted rows is not told on PostgreSQL
        )
        if claimed.first() is None:
            raise _TakenError

    def _compare(self, connection: Connection) -> None:
        tags, current = self._call.tags, self._operation.current
        if tags is None or current is None or not self._operation.compares:
            return
        now = tag_of(current(self._gateway, connection, self._arguments))
        if not tags & {now, "*"}:
            raise Problem(
                PRECONDITION_FAILED,
                f"Its entity tag is {now} now; nothing was changed.",
                headers={"ETag": now},
            )


class _RecordingDatabase:
    """A database whose first `write` runs inside `around`."""

    def __init__(
        self, db: Database, around: Callable[[Connection, Callable[[Connection], Any]], Any]
    ) -> None:
        self._db = db
        self._around = around
        self._done = False

    def __getattr__(self, name: str) -> Any:
        """Returns the database's other members."""
        return getattr(self._db, name)

    async def write(
        self, function: Callable[Concatenate[Connection, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        if self._done:
            return await self._db.write(function, *args, **kwargs)

        def recorded(connection: Connection) -> R:
            result: R = self._around(connection, lambda inner: function(inner, *args, **kwargs))
            return result

        result = await self._db.write(recorded)
        self._done = True
        return result

    async def write_for(
        self,
        _tenant_id: str,
        function: Callable[Concatenate[Connection, P], R],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        return await self.write(function, *args, **kwargs)  # the head of the audit log is everybody's
