"""One attempt: a file is fetched from RunComfy's hosts, checked, and put into the store.

Nothing of it is in the store before all of it is on this machine, has the length that its server stated, and
is a picture or a video by its bytes. Its address is judged at every attempt, and so is every redirect
(`app.egress`).
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Final

from app.auth.keys import Mode
from app.egress.client import Egress, EgressError, Fetched, Reach
from app.kit.log import get_logger
from app.mirror import schedule
from app.mirror.claims import Claimed
from app.mirror.records import Failed
from app.mirror.rows import Asset, Copied
from app.mirror.whole import CutOffError, NotMediaError, examine
from app.storage.incoming import Intake, Received, TooLargeError
from app.storage.store import StorageError, Store, key_of
from app.storage.threads import Threads

_log = get_logger("mirror")
STALL_S: Final = 30.0
"""For how long a server may send nothing."""
_MAX_CLASS: Final = 40
_OK: Final = 200
_BROKEN_OFF: Final = frozenset({"remote_protocol_error", "read_error"})


class _AttemptError(Exception):
    """The attempt failed, for a reason of this class."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Copier:
    """Makes attempts of at most `timeout_s` seconds, for files of at most `max_bytes`."""

    egress: Egress
    reaches: Mapping[Mode, Reach]
    store: Store
    intake: Intake
    threads: Threads
    max_bytes: int
    timeout_s: float

    async def attempt(self, claimed: Claimed) -> Copied | Failed:
        """Copies a file into the store; raises nothing but a cancellation."""
        try:
            async with asyncio.timeout(self.timeout_s):
                await self._forget_interrupted(claimed.asset)
                return await self._copied(claimed)
        except _AttemptError as error:
            return Failed(str(error))
        except (StorageError, OSError) as error:  # also where the disk of this machine is full
            await self.discard(claimed)  # also where the time was over while it was put into the store
            if isinstance(error, TimeoutError):
                return Failed(schedule.TIMEOUT)
            _log.error("A copy could not be stored.", asset=claimed.id, reason=str(error))
            return Failed(schedule.STORAGE)
        except EgressError as error:
            _log.warning("An output could not be fetched.", asset=claimed.id, reason=error.reason)
            return Failed(error.reason[:_MAX_CLASS])
        except Exception:  # noqa: BLE001 - as the docstring says
            await self.discard(claimed)
            _log.exception("An output could not be copied.", asset=claimed.id)
            return Failed(schedule.INTERNAL)

    async def discard(self, claimed: Claimed) -> None:
        """Deletes what this attempt put into the store, as far as that can be done."""
        try:
            await self.store.delete(attempt_key(claimed.asset, claimed.attempt))
        except (StorageError, OSError) as error:
            _log.warning("A copy without a row could not be deleted.", asset=claimed.id, reason=str(error))

    async def _forget_interrupted(self, asset: Asset) -> None:
        for key in interrupted_keys(asset):
            await self.store.delete(key)

    async def _copied(self, claimed: Claimed) -> Copied:
        if claimed.url is None:
            raise _AttemptError(schedule.OUTPUT_ERASED)
        try:
            async with self.egress.get(claimed.url, self.reaches[claimed.asset.mode]) as fetched:
                if fetched.status != _OK:
                    raise _AttemptError(f"status_{fetched.status}")
                stated = _length_of(fetched)
                if stated is not None and stated > self.max_bytes:
                    raise _AttemptError(schedule.TOO_LARGE)
                async with self.intake.receive(_chunks(fetched), max_bytes=self.max_bytes) as received:
                    if stated is not None and received.size_bytes != stated:
                        raise _AttemptError(schedule.TRUNCATED)
                    return await self._stored(claimed, received)
        except TooLargeError as error:
            raise _AttemptError(schedule.TOO_LARGE) from error

    async def _stored(self, claimed: Claimed, received: Received) -> Copied:
        try:
            media_type = await self.threads.run(examine, received.path, received.size_bytes)
        except NotMediaError as error:
            _log.warning("An output is neither a picture nor a video.", asset=claimed.id, reason=str(error))
            raise _AttemptError(schedule.NOT_MEDIA) from error
        except CutOffError as error:
            raise _AttemptError(schedule.TRUNCATED) from error
        key = attempt_key(claimed.asset, claimed.attempt)
        await self.store.put(key, received, media_type=media_type)
        return Copied(
            storage_key=key, sha256=received.sha256, size_bytes=received.size_bytes, media_type=media_type
        )


def attempt_key(asset: Asset, attempt: int) -> str:
    """Returns the key of what an attempt puts into the store: no other attempt can meddle with it."""
    return key_of("assets", asset.tenant_id, f"{asset.id}-{attempt}")


def interrupted_keys(asset: Asset) -> list[str]:
    """Returns the keys under which attempts that were interrupted may have left bytes."""
    if asset.interrupted_from is None:
        return []
    keys = [attempt_key(asset, one) for one in range(asset.interrupted_from, asset.attempts + 1)]
    return [one for one in keys if one != asset.storage_key]


def _length_of(fetched: Fetched) -> int | None:
    stated = fetched.headers.get("content-length", "")
    return int(stated) if stated.isascii() and stated.isdigit() else None


async def _chunks(fetched: Fetched) -> AsyncIterator[bytes]:
    """Yields the body, of a server that goes on sending."""
    while True:
        try:
            async with asyncio.timeout(STALL_S):
                chunk = await fetched.chunk()
        except TimeoutError as error:
            raise _AttemptError("stalled") from error
        except EgressError as error:
            reason = schedule.TRUNCATED if error.reason in _BROKEN_OFF else error.reason[:_MAX_CLASS]
            raise _AttemptError(reason) from error
        if not chunk:
            return
        yield chunk
