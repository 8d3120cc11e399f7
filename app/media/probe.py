"""Probes a file by URL without fetching all of it: its header tells the type, the server states the size.

What a probe found is trusted for a while, and then revalidated with its entity tag or date. Results are not
shared between tenants, so that a tenant who knows a URL learns nothing about who else uses it.
"""

import asyncio
import hashlib
from collections import Counter, OrderedDict
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from http import HTTPStatus
from typing import Final
from weakref import WeakValueDictionary

from app.egress.client import Egress, EgressError, Reach
from app.kit.clock import Clock
from app.kit.log import get_logger
from app.kit.tasks import Tasks
from app.media.facts import Facts, UnreadableError
from app.media.formats import FormatError, Seen, reading
from app.media.remote import CHANGED, RemoteFile

_log = get_logger("media")
_PARTS: Final = 4  # one end user, or client token, may use one in so many of its tenant's concurrent probes
_ROWS: Final = 4_096  # results that are remembered
_ASKED_AFTER: Final = 20  # times `believed_ms`: the age up to which a result is revalidated

# The one text for addresses that are refused, unknown or silent: it must not tell which of these it is.
_HIDDEN: Final = "could not be reached: its address must be public, and a server must answer there"
_NOT_SERVED, _UNREACHABLE, _UNAVAILABLE = "media_not_served", "media_unreachable", "media_unavailable"
_TOLD: Final = {
    "too_many_redirects": (_NOT_SERVED, "redirects too often"),
    "redirect_from_tls": (_NOT_SERVED, "redirects from https to http"),
    "redirect_to_nowhere": (_NOT_SERVED, "redirects without saying where to"),
    "certificate": (_NOT_SERVED, "has a server whose TLS certificate is not valid for it"),
}
_MAY_CHANGE: Final = frozenset({408, 425, 429})  # statuses below 500 after which another try makes sense
_ADVICE: Final = {
    401: ": it must be readable without a login",
    403: ": the link may have expired, or need a login",
    404: ": there is no file at this address",
    410: ": the file is no longer there",
}


class UnreachableError(Exception):
    """The file could not be fetched. The message is for callers; all that it must not say is in the log.

    `code` says whether another try makes sense: `media_not_served` (its server says no), `media_unavailable`
    (not now), `media_unreachable` (nobody may know why).
    """

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code

    @classmethod
    def late(cls, within_s: float) -> "UnreachableError":
        """Returns the error of a file that was not fetched in time."""
        return cls(_UNAVAILABLE, f"could not be fetched within {within_s:g} s")

    @classmethod
    def of(cls, error: EgressError) -> "UnreachableError":
        """Returns what callers may be told of an error."""
        if not error.candid:
            return cls(_UNREACHABLE, _HIDDEN)
        if not error.reason.startswith("http_"):
            return cls(*_TOLD.get(error.reason, (_UNAVAILABLE, "has a server that broke off its answer")))
        status = int(error.reason.removeprefix("http_"))
        code = (
            _UNAVAILABLE
            if status in _MAY_CHANGE or status >= HTTPStatus.INTERNAL_SERVER_ERROR
            else _NOT_SERVED
        )
        return cls(code, f"is at a server that answered {status}{_ADVICE.get(status, '')}")


@dataclass(frozen=True, slots=True)
class _Row:
    """A remembered result, with the request headers that revalidate it.

    `keep` is False where the size is only a lower bound, which holds for one request's limit alone.
    """

    seen: Facts | UnreadableError
    at_ms: int
    validators: Mapping[str, str] = field(default_factory=dict)
    keep: bool = True

    def serves(self, *, sized: bool) -> bool:
        return not sized or isinstance(self.seen, UnreadableError) or self.seen.size_bytes is not None

    def told(self) -> Facts:
        if isinstance(self.seen, UnreadableError):
            raise UnreadableError(str(self.seen))
        return self.seen


class Prober:
    """Probes files by URL, for one tenant at most `per_tenant` at a time.

    `reaches` says what each mode may reach. One probe takes at most `deadline_s` seconds, and its result is
    trusted for `believed_ms` milliseconds.
    """

    def __init__(
        self,
        egress: Egress,
        clock: Clock,
        tasks: Tasks,
        reaches: Mapping[str, Reach],
        *,
        deadline_s: float,
        believed_ms: int,
        per_tenant: int,
    ) -> None:
        self._egress = egress
        self._clock = clock
        self._tasks = tasks
        self._reaches = reaches
        self._deadline_s = deadline_s
        self._believed_ms = believed_ms
        self._per_tenant = per_tenant
        self._rows: OrderedDict[bytes, _Row] = OrderedDict()
        self._running: dict[tuple[bytes, int | None], asyncio.Task[_Row]] = {}
        self._callers: Counter[tuple[bytes, int | None]] = Counter()
        self._rooms: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    async def probe(
        self,
        url: str,
        *,
        tenant_id: str,
        mode: str,
        size_up_to: int | None,
        within_s: float,
        part: str | None = None,
    ) -> Facts:
        """Returns the facts of the file at a URL.

        Its size is counted up to `size_up_to` bytes where the server does not state it; None where nobody
        needs the size. `part` names an end user or client token of the tenant, who may use only a part of the
        tenant's concurrent probes. The caller waits at most `within_s` seconds. A probe that nobody
        waits for any more, because all callers were cancelled, is given up.

        Raises:
            UnreadableError: it is no media file.
            UnreachableError: it could not be fetched in time, or not at all, or must not be fetched.

        """
        place = hashlib.sha256(f"{tenant_id}\0{mode}\0{url}".encode()).digest()
        row = self._rows.get(place)
        if (
            row is not None
            and row.serves(sized=size_up_to is not None)
            and 0 <= self._clock.now_ms() - row.at_ms < self._believed_ms
        ):
            return row.told()
        key = (place, size_up_to)
        task = self._running.get(key)
        if task is None:
            probe = self._probe(url, place, tenant_id, mode, size_up_to, part=part)
            task = self._running[key] = self._tasks.start(probe, name="probe", cancel_on_drain=True)
            task.add_done_callback(partial(self._forget, key))
        self._callers[key] += 1
        try:
            async with asyncio.timeout(within_s):
                row = await asyncio.shield(task)
        except TimeoutError:
            raise UnreachableError.late(within_s) from None
        except asyncio.CancelledError:
            if self._callers[key] == 1:  # nobody else waits for it: what it takes of the tenant's is free
                self._forget(key, task)
                task.cancel()
            raise
        finally:
            self._callers[key] -= 1
            if not self._callers[key]:
                del self._callers[key]
        return row.told()

    def _forget(self, key: tuple[bytes, int | None], task: asyncio.Task[_Row]) -> None:
        if self._running.get(key) is task:
            del self._running[key]

    async def _probe(
        self,
        url: str,
        place: bytes,
        tenant_id: str,
        mode: str,
        size_up_to: int | None,
        *,
        part: str | None,
    ) -> _Row:
        room = self._rooms.setdefault(tenant_id, asyncio.Semaphore(self._per_tenant))
        own = room
        if part is not None:
            max_parts = max(1, self._per_tenant // _PARTS)
            own = self._rooms.setdefault(f"{tenant_id} {part}", asyncio.Semaphore(max_parts))
        try:
            async with asyncio.timeout(self._deadline_s), own, room if own is not room else nullcontext():
                row = await self._fetch(url, self._reaches[mode], self._known(place, size_up_to), size_up_to)
        except (EgressError, TimeoutError) as error:
            reason = error.reason if isinstance(error, EgressError) else "timeout"
            # Only the host is logged: the URL itself may be a secret, with which anybody can fetch the file.
            _log.info("A file could not be fetched.", tenant=tenant_id, reason=reason, host=_host(url))
            if isinstance(error, EgressError):
                raise UnreachableError.of(error) from None
            raise UnreachableError.late(self._deadline_s) from None
        if row.keep:
            self._rows[place] = row
            self._rows.move_to_end(place)
            while len(self._rows) > _ROWS:
                self._rows.popitem(last=False)
        return row

    def _known(self, place: bytes, size_up_to: int | None) -> _Row | None:
        """Returns an earlier result that can be revalidated, or None."""
        row = self._rows.get(place)
        if row is None or not row.validators or not row.serves(sized=size_up_to is not None):
            return None
        age_ms = self._clock.now_ms() - row.at_ms
        return row if 0 <= age_ms < self._believed_ms * _ASKED_AFTER else None

    async def _fetch(self, url: str, reach: Reach, known: _Row | None, size_up_to: int | None) -> _Row:
        try:
            return await self._fetch_once(url, reach, known, size_up_to, ranges=True)
        except EgressError as error:
            if error.reason != CHANGED:
                raise
        # It was replaced meanwhile, or its servers do not agree on what they say of it.
        return await self._fetch_once(url, reach, None, size_up_to, ranges=False)

    async def _fetch_once(
        self, url: str, reach: Reach, known: _Row | None, size_up_to: int | None, *, ranges: bool
    ) -> _Row:
        async with RemoteFile(self._egress, url, reach, ranges=ranges) as file:
            seen: Facts | UnreadableError
            counted = False
            now_ms = self._clock.now_ms()
            try:
                if not await file.open(known.validators if known is not None else {}) and known is not None:
                    return replace(known, at_ms=now_ms)
                found = await _see(file)
                if size_up_to is not None:
                    counted = await file.count(size_up_to)
                seen = Facts(found.type, file.size_bytes, found.width, found.height)
            except UnreadableError as error:
                seen = error if file.is_candid else UnreadableError("is not a media file that can be read")
            return _Row(seen, now_ms, file.validators, keep=not counted)


async def _see(file: RemoteFile) -> Seen:
    reader = reading(file.size_bytes)
    try:
        at, length = next(reader)
        while True:
            at, length = reader.send(await file.read(at, length))
    except StopIteration as done:
        seen: Seen = done.value
        return seen
    except FormatError as error:
        raise UnreadableError(str(error)) from error


def _host(url: str) -> str:
    return url.partition("://")[2].partition("/")[0].partition("?")[0][:253]
