"""Uploads: from a stream of bytes to a stored row.

The file is received whole first, counted and hashed; nothing is recorded until it was judged. Then its row is
inserted as `storing`, with its bytes counted; the bytes go to the store; and only then is the row `stored`.
Whoever dies on the way leaves a row that the sweeper removes, bytes before row.
"""

import os
from collections import Counter
from collections.abc import AsyncIterable, AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from sqlalchemy import Connection

from app.auth import client_tokens
from app.auth.principal import Principal
from app.catalog.catalog import Catalog
from app.catalog.model import Model
from app.db.engines.engine import Database
from app.errors import (
    BODY_TOO_LARGE,
    FILE_NOT_FOUND,
    INVALID_PARAMETER,
    MODEL_NOT_ALLOWED,
    MODEL_NOT_FOUND,
    STORAGE_UNAVAILABLE,
    UPLOADS_BUSY,
    FieldError,
    Problem,
)
from app.files import judging, rows
from app.files.rows import File, FileState
from app.kit.clock import Clock
from app.kit.log import get_logger
from app.kit.room import Room, RoomFullError
from app.media.facts import Facts, UnreadableError, facts_by_parts
from app.quotas.account import Owner, lock_tenant
from app.quotas.limits import Limit, Scope
from app.quotas.metrics import Metric
from app.quotas.standing import Standing, stored_standing
from app.quotas.sums import stored
from app.storage.incoming import Received, TooLargeError
from app.storage.opening import Storage
from app.storage.store import StorageError

_log = get_logger("files")
LEASE_MS = 3_600_000
"""How long whoever stores a file is taken to be at it; a store that takes longer has to begin again."""
_ROOM_WITHIN_S = 2.0
_RETRY_AFTER_S = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What an upload asks for: the file's name, the model and place it is for, and how long it is kept."""

    name: str | None = None
    model_id: str | None = None
    place: str | None = None
    expires_in_s: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Uploads:
    """Receives, judges and stores files. `limits` returns the default limits as they are now.

    `keep_s` is how long a file is kept at most; 0 is for ever. `token_bytes` is the budget of a client token
    whose terms say nothing. `token_room` is the part of `room` of those who upload with client tokens.
    """

    db: Database
    clock: Clock
    storage: Storage
    catalog: Catalog
    limits: Callable[[], Sequence[Limit]]
    room: Room
    token_room: Room
    max_bytes: int
    token_bytes: int
    keep_s: float
    counted: Counter[str] = field(default_factory=Counter, init=False)

    async def upload(
        self,
        principal: Principal,
        chunks: AsyncIterable[bytes | memoryview],
        asked: Asked,
        *,
        announced: int | None,
    ) -> tuple[File, bool]:
        """Receives a file and stores it, unless the caller has stored the same content already.

        Returns the file, and whether it is new. `announced` is the number of bytes that are to come, None
        where nobody said.

        Raises:
            Problem: BODY_TOO_LARGE, INVALID_FILE, INVALID_PARAMETER, MODEL_NOT_FOUND, MODEL_NOT_ALLOWED,
                QUOTA_EXHAUSTED, UPLOADS_BUSY, STORAGE_UNAVAILABLE, DATABASE_UNAVAILABLE.

        """
        model = self.model_for(principal, asked)
        if announced is not None and announced > self.max_bytes:
            raise self._too_large()
        async with self.place(principal), self._received(chunks) as received:
            facts = await self.facts_of_path(received.path, received.size_bytes)
            return await self._keep(principal, received, facts, model, asked)

    def model_for(self, principal: Principal, asked: Asked) -> Model | None:
        """Returns the model that an upload names.

        Raises:
            Problem: MODEL_NOT_FOUND, MODEL_NOT_ALLOWED; INVALID_PARAMETER, a client token named none.

        """
        if asked.model_id is None:
            if principal.token is None and asked.place is None:
                return None
            why = "needs `model`" if principal.token is None else "must be sent with a client token"
            raise Problem(
                INVALID_PARAMETER,
                f"`{'place' if principal.token is None else 'model'}` {why}.",
                errors=[FieldError("#/query/model", "missing", f"is missing: it {why}")],
            )
        model = self.catalog.models.get(asked.model_id)
        if model is None:
            raise Problem(MODEL_NOT_FOUND, f"There is no model {asked.model_id[:200]!r} in the catalogue.")
        if not principal.may_use(model.model_id):
            raise Problem(MODEL_NOT_ALLOWED, f"This {principal.noun} may not use {model.model_id}.")
        return model

    async def facts_of_path(self, path: Path, size_bytes: int) -> Facts:
        """Returns the facts of a file on this machine.

        Raises:
            Problem: INVALID_FILE, it is no media file.

        """

        async def part(at: int, length: int) -> bytes:
            return await self.storage.threads.run(_part_of, path, at, length)

        try:
            return await facts_by_parts(size_bytes, part)
        except UnreadableError as error:
            raise judging.refuse_unreadable(error) from None

    async def _keep(
        self, principal: Principal, received: Received, facts: Facts, model: Model | None, asked: Asked
    ) -> tuple[File, bool]:
        if model is not None:
            judging.check(facts, model, asked.place)
        now_ms = self.clock.now_ms()
        file = rows.draft(
            principal,
            now_ms=now_ms,
            state=FileState.STORING,
            name=asked.name,
            model_id=None if model is None else model.model_id,
            place=asked.place,
            sha256=received.sha256,
            bytes=received.size_bytes,
            type=facts.type,
            width=facts.width,
            height=facts.height,
            expires_at_ms=self.expiry(asked, now_ms),
            lease_until_ms=now_ms + LEASE_MS,
        )
        same = await self.db.write_for(file.tenant_id, self.begin, principal, file)
        if same is not None:
            return same, False
        try:
            await self.storage.store.put(file.key, received, media_type=facts.type)
        except StorageError as error:
            await self.give_up(file)
            raise unavailable(error) from error
        return await self.complete(file)

    def begin(self, connection: Connection, principal: Principal, file: File) -> File | None:
        """Inserts a file's row and counts its bytes, or returns the stored file with the same content.

        Raises:
            QuotaProblem: its bytes do not fit.

        """
        lock_tenant(connection, file.tenant_id)
        if file.sha256 and (same := kept_longer(connection, file)) is not None:
            return same
        self.count(connection, principal, file)
        rows.add(connection, file)
        return None

    def count(self, connection: Connection, principal: Principal, file: File) -> None:
        """Counts a file's bytes in all limits and in the budget of the client token.

        Raises:
            QuotaProblem: its bytes do not fit.

        """
        budget: list[Standing] = []
        token = principal.token
        if token is not None:
            max_bytes = self.token_bytes if token.max_upload_bytes is None else token.max_upload_bytes
            limit = Limit(Scope(token_id=token.token_id), Metric.STORED_BYTES, max_bytes)
            uploaded = client_tokens.uploaded(connection, token.token_id)
            budget = [stored_standing(limit, uploaded, file.bytes)]
        stored.hold(
            connection,
            *file.account,
            file.bytes,
            defaults=self.limits(),
            more=budget,
            now_ms=file.created_at_ms,
        )
        if token is not None:
            client_tokens.count_upload(connection, token.token_id, file.bytes)

    async def complete(self, file: File) -> tuple[File, bool]:
        """Records that a file's bytes are stored; returns it, or the same one that was stored meanwhile.

        Raises:
            Problem: STORAGE_UNAVAILABLE, it took so long that it was given up.

        """
        kept, is_new = await self.db.write_for(file.tenant_id, _complete, file)
        if kept is None or not is_new:
            await self.give_up(file)
        if kept is None:
            raise unavailable(StorageError("took_too_long"))
        self.counted[file.mode] += file.bytes if is_new else 0
        return kept, is_new

    async def give_up(self, file: File) -> None:
        """Removes a file: nobody can use it from now on. What cannot be removed now, the sweeper removes."""
        await self.db.write_for(file.tenant_id, rows.give_up, file, now_ms=self.clock.now_ms())
        await self.remove(file)

    async def remove(self, file: File) -> bool:
        """Removes the bytes of a file that was given up, then its row; returns whether both are gone."""
        try:
            await self.storage.store.delete(file.key)
            if not file.sha256:
                await self.storage.store.delete(file.incoming_key)
        except StorageError as error:
            _log.warning("Bytes could not be removed from the store.", key=file.key, reason=error.reason)
            return False
        await self.db.write_for(file.tenant_id, rows.forget, file)
        return True

    async def delete(self, principal: Principal, file_id: str) -> None:
        """Deletes a file that the caller may use.

        Raises:
            Problem: FILE_NOT_FOUND.

        """
        await self.give_up(await self.find(principal, file_id))

    async def find(self, principal: Principal, file_id: str) -> File:
        """Returns a stored file that the caller may use.

        Raises:
            Problem: FILE_NOT_FOUND, in the same words whatever the reason.

        """
        owner = Owner(principal.tenant_id, principal.mode)
        file = await self.db.read(rows.find, file_id, owner)
        if file is None or not file.is_there(self.clock.now_ms()) or not rows.can_see(principal, file):
            raise not_found()
        return file

    def expiry(self, asked: Asked, now_ms: int) -> int | None:
        """Returns when a file expires that is uploaded now; None is never."""
        limits_s = [seconds for seconds in (self.keep_s, asked.expires_in_s) if seconds]
        return now_ms + int(min(limits_s) * 1000) if limits_s else None

    @asynccontextmanager
    async def place(self, principal: Principal) -> AsyncIterator[None]:
        """Holds one of the places for files that are received at a time.

        Raises:
            Problem: UPLOADS_BUSY.

        """
        async with AsyncExitStack() as held:
            try:
                if principal.token is not None:  # one page does not keep the tenant's others out
                    owner = f"{principal.tenant_id}/{rows.owner_of(principal)}"
                    room = self.token_room.holding(1, owner, within_s=_ROOM_WITHIN_S)
                    await held.enter_async_context(room)
                room = self.room.holding(1, principal.tenant_id, within_s=_ROOM_WITHIN_S)
                await held.enter_async_context(room)
            except RoomFullError:
                detail = "As many files are being received as may be at a time."
                close = {"Connection": "close"}
                raise Problem(UPLOADS_BUSY, detail, retry_after_s=_RETRY_AFTER_S, headers=close) from None
            yield

    @asynccontextmanager
    async def _received(self, chunks: AsyncIterable[bytes | memoryview]) -> AsyncIterator[Received]:
        try:
            async with self.storage.intake.receive(chunks, max_bytes=self.max_bytes) as received:
                yield received
        except TooLargeError:
            raise self._too_large() from None
        except OSError as error:
            _log.exception("A file could not be received.")
            raise unavailable(StorageError(type(error).__name__)) from error

    def _too_large(self) -> Problem:
        detail = f"A file may have at most {self.max_bytes:,} bytes."
        return Problem(BODY_TOO_LARGE, detail, headers={"Connection": "close"})


def not_found() -> Problem:
    """Returns the refusal of a file that is not there, or not for this caller."""
    return Problem(FILE_NOT_FOUND, "There is no such file for this caller.")


def unavailable(error: StorageError) -> Problem:
    """Returns the refusal of a call for which the store is needed."""
    _log.warning("The store of files did not serve.", reason=error.reason)
    return Problem(STORAGE_UNAVAILABLE, "The store of files is not available.", retry_after_s=_RETRY_AFTER_S)


def _part_of(path: Path, at: int, length: int) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.pread(descriptor, length, at)
    finally:
        os.close(descriptor)


def kept_longer(connection: Connection, file: File) -> File | None:
    """Returns the stored file with the same content, which is kept at least as long as this one would be."""
    same = rows.find_same(connection, file, now_ms=file.created_at_ms)
    if same is None or same.expires_at_ms is None:
        return same
    expires_at_ms = None if file.expires_at_ms is None else max(same.expires_at_ms, file.expires_at_ms)
    rows.change(connection, same, FileState.STORED, expires_at_ms=expires_at_ms)
    return replace(same, expires_at_ms=expires_at_ms)


def _complete(connection: Connection, file: File) -> tuple[File | None, bool]:
    lock_tenant(connection, file.tenant_id)
    if (same := kept_longer(connection, file)) is not None:
        return same, False
    changes = {"state": FileState.STORED, "lease_until_ms": None}
    if not rows.change(connection, file, FileState.STORING, **changes):
        return None, False
    return replace(file, state=FileState.STORED, lease_until_ms=None), True
