"""Direct uploads: a client sends a file to the bucket itself, and then has it judged and kept here.

The form that is given out is for a key that nobody reads. On completion the bytes are moved to a key that
nobody else can write to, and only then measured, hashed and judged: whoever uses the form again changes
nothing.
"""

import hashlib
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Final

from sqlalchemy import Connection

from app.auth.principal import Principal
from app.errors import (
    DIRECT_UPLOADS_UNAVAILABLE,
    INVALID_PARAMETER,
    UPLOAD_INCOMPLETE,
    FieldError,
    Problem,
)
from app.files import judging, rows
from app.files.rows import File, FileState
from app.files.uploads import Asked, Uploads, kept_longer, not_found, unavailable
from app.media.facts import Facts, UnreadableError, facts_by_parts
from app.quotas.account import Owner, lock_tenant
from app.quotas.sums import stored
from app.storage.store import Post, StorageError

FORM_S: Final = 3_600
_GRACE_MS: Final = 600_000  # after which an upload that was not completed is given up
_TYPE: Final = "application/octet-stream"  # what the store says of it matters to nobody


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectUploads:
    """Begins and completes direct uploads."""

    uploads: Uploads

    async def begin(self, principal: Principal, asked: Asked, size_bytes: int) -> tuple[File, Post]:
        """Returns a file that is awaited, and the form with which it is sent to the bucket.

        Its bytes count from now on.

        Raises:
            Problem: DIRECT_UPLOADS_UNAVAILABLE, the store takes none; and as from `Uploads.upload`.

        """
        uploads = self.uploads
        model = uploads.model_for(principal, asked)
        known = [] if model is None else [one.pointer for one in model.compiled.media]
        if asked.place is not None and asked.place not in known:
            detail = f"must be one of: {', '.join(known) or 'none'}"
            raise Problem(
                INVALID_PARAMETER, f"`place` {detail}.", errors=[FieldError("#/query/place", "enum", detail)]
            )
        if size_bytes > uploads.max_bytes:
            detail = f"must be at most {uploads.max_bytes}"
            raise Problem(
                INVALID_PARAMETER,
                f"`size_bytes` {detail}.",
                errors=[FieldError("#/query/size_bytes", "range", detail)],
            )
        now_ms = uploads.clock.now_ms()
        file = rows.draft(
            principal,
            now_ms=now_ms,
            state=FileState.AWAITED,
            name=asked.name,
            model_id=None if model is None else model.model_id,
            place=asked.place,
            sha256="",
            bytes=size_bytes,
            type="",
            width=None,
            height=None,
            expires_at_ms=uploads.expiry(asked, now_ms),
            lease_until_ms=now_ms + FORM_S * 1000 + _GRACE_MS,
        )
        form = uploads.storage.store.post(
            file.incoming_key, expires_s=FORM_S, media_type=_TYPE, max_bytes=size_bytes
        )
        if form is None:
            detail = "Files are kept on the gateway's own disk: send the file to POST /v1/files."
            raise Problem(DIRECT_UPLOADS_UNAVAILABLE, detail)
        await uploads.db.write_for(file.tenant_id, uploads.begin, principal, file)
        return file, form

    async def complete(self, principal: Principal, file_id: str) -> tuple[File, bool]:
        """Judges and keeps a file that was sent to the bucket; returns it, and whether it is new.

        Repeating it is harmless.

        Raises:
            Problem: FILE_NOT_FOUND, UPLOAD_INCOMPLETE, INVALID_FILE, UPLOADS_BUSY, STORAGE_UNAVAILABLE.

        """
        uploads = self.uploads
        found = await uploads.db.read(rows.find, file_id, Owner(principal.tenant_id, principal.mode))
        if found is not None and found.state is not FileState.AWAITED:
            return await uploads.find(principal, file_id), False
        if found is None or not rows.can_see(principal, found):
            raise not_found()
        try:
            async with uploads.place(principal):  # all of it is read
                file = await self._judged(found)
        except KeyError:
            raise Problem(
                UPLOAD_INCOMPLETE, "The bucket does not have the file yet.", retry_after_s=2
            ) from None
        except StorageError as error:
            raise unavailable(error) from error
        kept, is_new = await uploads.db.write_for(file.tenant_id, _complete, found, file)
        if kept is None or kept.id != found.id:
            await uploads.give_up(found)
        if kept is None:
            raise not_found()
        return kept, is_new

    async def _judged(self, file: File) -> File:
        """Returns the file with what its bytes tell; gives up one that is refused."""
        try:
            measured = await self._measured(file)
            model = None if file.model_id is None else self.uploads.catalog.models.get(file.model_id)
            if model is not None:
                judging.check(measured.facts, model, file.place)
        except UnreadableError as error:
            await self.uploads.give_up(file)
            raise judging.refuse_unreadable(error) from None
        except Problem:
            await self.uploads.give_up(file)
            raise
        return measured

    async def _measured(self, file: File) -> File:
        """Moves the bytes to the file's own key, and returns the file with what they tell."""
        store = self.uploads.storage.store
        if await store.size(file.key) is None:  # else an earlier completion died behind the move
            await store.move(file.incoming_key, file.key)
        size = await store.size(file.key)
        if size is None:
            raise StorageError("gone_meanwhile")
        if size > file.bytes:
            raise judging.refuse_too_large(size, file.bytes)  # not every server compares
        digest = hashlib.sha256()
        async with aclosing(self.uploads.storage.read(file.key, 0, size)) as chunks:
            async for chunk in chunks:
                await self.uploads.storage.threads.run(digest.update, chunk)

        async def part(at: int, length: int) -> bytes:
            async with aclosing(store.read(file.key, at, min(at + length, size))) as found:
                return b"".join([chunk async for chunk in found])

        facts: Facts = await facts_by_parts(size, part)
        return replace(
            file,
            sha256=digest.hexdigest(),
            bytes=size,
            type=facts.type,
            width=facts.width,
            height=facts.height,
        )


def _complete(connection: Connection, awaited: File, file: File) -> tuple[File | None, bool]:
    """Stores what was awaited, with the bytes that came; or returns the same file that is stored already.

    Another call may have completed it at this moment. Where that one measured other bytes, those of the row
    were replaced by this one, and the file is given up.
    """
    lock_tenant(connection, file.tenant_id)
    there = rows.find(connection, file.id)
    if there is not None and there.state is FileState.STORED:
        return (there if there.sha256 == file.sha256 else None), False
    if (same := kept_longer(connection, file)) is not None:
        return same, False
    changes = {name: getattr(file, name) for name in ("sha256", "bytes", "type", "width", "height")}
    changes |= {"state": FileState.STORED, "lease_until_ms": None}
    if not rows.change(connection, awaited, FileState.AWAITED, **changes):
        return None, False
    stored.give_back(connection, *file.account, awaited.bytes - file.bytes)
    return replace(file, state=FileState.STORED, lease_until_ms=None), True
