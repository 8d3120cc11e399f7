"""Probes a file by URL without fetching all of it: its first bytes tell the type, the server states the size.

What a probe found is trusted for a while, and then revalidated with its entity tag or date. Results are not
shared between tenants, so that a tenant who knows a URL learns nothing about who else uses it.
"""

import asyncio
import hashlib
import re
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Final
from weakref import WeakValueDictionary

from app.egress.client import Egress, EgressError, Fetched, Reach
from app.kit.clock import Clock
from app.kit.log import get_logger
from app.kit.tasks import Tasks
from app.media.facts import Facts, UnreadableError, facts_of
from app.media.formats import NeedMoreError

_log = get_logger("media")
FIRST_BYTES: Final = 65_536
MAX_BYTES: Final = 524_288  # where thumbnails and colour profiles make the header long
_PARTS: Final = 4  # one end user, or client token, may use one in so many of its tenant's concurrent probes
_ROWS: Final = 4_096  # results that are remembered
_MAX_ASKS: Final = 3  # requests: for the first range, for the longer one, and for the whole file
_ASKED_AFTER: Final = 20  # times `believed_ms`: the age up to which a result is revalidated
_RANGE = re.compile(r"bytes 0-(\d{1,18})/(\d{1,18}|\*)")
_OK, _PARTIAL, _NOT_MODIFIED, _NO_SUCH_RANGE = 200, 206, 304, 416


class UnreachableError(Exception):
    """The file could not be fetched. The reason is in the log alone."""


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


class _MoreWantedError(Exception):
    """The range was too short, or the size is still unknown: request the file again, with these headers."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        super().__init__()
        self.headers = headers


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
        tenant's concurrent probes. The caller waits at most `within_s` seconds.

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
            task.add_done_callback(lambda _: self._running.pop(key, None))
        try:
            async with asyncio.timeout(within_s):
                row = await asyncio.shield(task)
        except TimeoutError:
            raise UnreachableError from None
        return row.told()

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
            raise UnreachableError from None
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
        asked: Mapping[str, str] = {**_range(FIRST_BYTES), **(known.validators if known is not None else {})}
        for _ in range(_MAX_ASKS):
            try:
                return await self._ask(url, reach, asked, known, size_up_to)
            except _MoreWantedError as more:
                asked, known = more.headers, None
        raise EgressError("parts_alone")

    async def _ask(
        self, url: str, reach: Reach, headers: Mapping[str, str], known: _Row | None, size_up_to: int | None
    ) -> _Row:
        async with self._egress.get(url, reach, headers) as fetched:
            now_ms = self._clock.now_ms()
            if fetched.status == _NOT_MODIFIED and known is not None:
                return replace(known, at_ms=now_ms)
            seen: Facts | UnreadableError
            counted = False
            try:
                body = _Body(fetched)
                seen = await _facts_of_head(body, headers)
                if body.size is None and size_up_to is not None:
                    if body.partial:
                        raise _MoreWantedError({})
                    counted = await body.count(size_up_to)
                seen = replace(seen, size_bytes=body.size)
            except UnreadableError as error:
                seen = error
            return _Row(seen, now_ms, _validators(fetched), keep=not counted)


class _Body:
    """The part of a response's body that was read so far; `size` is the whole file's, None if unknown."""

    def __init__(self, fetched: Fetched) -> None:
        if fetched.status not in (_OK, _PARTIAL, _NO_SUCH_RANGE):
            raise EgressError(f"http_{fetched.status}")
        if fetched.status == _NO_SUCH_RANGE:  # the file has no first byte
            raise UnreadableError("is an empty file")
        self.partial = fetched.status == _PARTIAL
        self.size = _size(fetched)
        self.head = b""
        self._ended = False
        self._fetched = fetched

    @property
    def whole(self) -> bool:
        """Whether `head` is the whole file."""
        return self._ended and (not self.partial or self.size == len(self.head))

    async def read(self, up_to: int) -> None:
        """Reads on until `head` has that many bytes, or the body ends."""
        parts = [self.head]
        length = len(self.head)
        while length < up_to and (chunk := await self._next()):
            parts.append(chunk)
            length += len(chunk)
        self.head = b"".join(parts)
        if self._ended and not self.partial:
            self.size = len(self.head)

    async def count(self, up_to: int) -> bool:
        """Counts the rest of the body without keeping it; returns whether it stopped beyond `up_to`."""
        length = len(self.head)
        while length <= up_to and (chunk := await self._next()):
            length += len(chunk)
        self.size = length
        return not self._ended

    async def _next(self) -> bytes:
        chunk = await self._fetched.chunk()
        self._ended = not chunk
        return chunk


async def _facts_of_head(body: _Body, asked: Mapping[str, str]) -> Facts:
    await body.read(FIRST_BYTES)
    try:
        return facts_of(body.head, whole=body.whole)
    except NeedMoreError:
        if body.partial and asked.get("Range") != _range(MAX_BYTES)["Range"]:
            raise _MoreWantedError(_range(MAX_BYTES)) from None
    await body.read(MAX_BYTES)
    return facts_of(body.head, whole=True)


def _range(length: int) -> dict[str, str]:
    return {"Range": f"bytes=0-{length - 1}"}


def _size(fetched: Fetched) -> int | None:
    if fetched.status == _PARTIAL:
        matched = _RANGE.fullmatch(fetched.headers.get("content-range", ""))
        if matched is None:
            raise EgressError("wrong_range")
        return None if matched[2] == "*" else int(matched[2])
    length = fetched.headers.get("content-length", "")
    return int(length) if length.isascii() and length.isdigit() and len(length) < 19 else None  # noqa: PLR2004 - 2**63


def _validators(fetched: Fetched) -> dict[str, str]:
    """Returns the request headers that fetch the file only if it has changed since."""
    pairs = (("etag", "If-None-Match"), ("last-modified", "If-Modified-Since"))
    return {ask: fetched.headers[name] for name, ask in pairs if name in fetched.headers}


def _host(url: str) -> str:
    return url.partition("://")[2].partition("/")[0].partition("?")[0][:253]
