"""Looking at a file without fetching it: its first bytes tell what it is, the server how long it is.

What was seen is believed for a while, and then asked for again by its validator. One tenant's looks are not
another's: who knows a URL by heart learns nothing about who else does.
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
MAX_BYTES: Final = 524_288  # of a head that is long for its thumbnails and profiles
_PARTS: Final = 4  # of a tenant's places one end user, or client token, has one in so many
_ROWS: Final = 4_096  # that are remembered
_MAX_ASKS: Final = 3  # for the first range, for the longer one, and for all of it
_ASKED_AFTER: Final = 20  # so many times the time for which it is believed, a validator is worth asking by
_RANGE = re.compile(r"bytes 0-(\d{1,18})/(\d{1,18}|\*)")
_OK, _PARTIAL, _NOT_MODIFIED, _NO_SUCH_RANGE = 200, 206, 304, 416


class UnreachableError(Exception):
    """The file could not be fetched. Why is in the log alone."""


@dataclass(frozen=True, slots=True)
class _Row:
    """What was seen at a URL, and the headers that ask whether it is still so."""

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
    """The range was too short, or its answer did not tell the size: ask again, with these headers."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        super().__init__()
        self.headers = headers


class Prober:
    """Looks at files by URL, side by side, `per_tenant` at a time, of which somebody of its may have a part.

    `reaches` is what each kind of key may reach. One look takes `deadline_s` at most, and what it saw is
    believed for `believed_ms`.
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
        self._looking: dict[tuple[bytes, int | None], asyncio.Task[_Row]] = {}
        self._rooms: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    async def look(
        self,
        url: str,
        *,
        tenant_id: str,
        mode: str,
        size_up_to: int | None,
        within_s: float,
        part: str | None = None,
    ) -> Facts:
        """The facts of the file at a URL. Its size matters up to so many bytes; None where it does not.

        `part` names whoever of the tenant's must leave room for the others.

        Raises:
            UnreadableError: it is no media file.
            UnreachableError: it could not be fetched in time, or not at all, or must not be.

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
        task = self._looking.get(key)
        if task is None:
            look = self._look(url, place, tenant_id, mode, size_up_to, part=part)
            task = self._looking[key] = self._tasks.start(look, name="probe", may_be_cut=True)
            task.add_done_callback(lambda _: self._looking.pop(key, None))
        try:
            async with asyncio.timeout(within_s):
                row = await asyncio.shield(task)
        except TimeoutError:
            raise UnreachableError from None
        return row.told()

    async def _look(
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
            most = max(1, self._per_tenant // _PARTS)
            own = self._rooms.setdefault(f"{tenant_id} {part}", asyncio.Semaphore(most))
        try:
            async with asyncio.timeout(self._deadline_s), own, room if own is not room else nullcontext():
                row = await self._fetch(url, self._reaches[mode], self._known(place, size_up_to), size_up_to)
        except (EgressError, TimeoutError) as error:
            reason = error.reason if isinstance(error, EgressError) else "timeout"
            # The URL itself may be a secret: whoever has it can fetch the file.
            _log.info("A file could not be fetched.", tenant=tenant_id, reason=reason, host=_host(url))
            raise UnreachableError from None
        if row.keep:
            self._rows[place] = row
            self._rows.move_to_end(place)
            while len(self._rows) > _ROWS:
                self._rows.popitem(last=False)
        return row

    def _known(self, place: bytes, size_up_to: int | None) -> _Row | None:
        """What was seen earlier and can be asked for by its validator."""
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
    """The beginning of an answer's body, as far as it was read; `size` is that of the whole file."""

    def __init__(self, fetched: Fetched) -> None:
        if fetched.status not in (_OK, _PARTIAL, _NO_SUCH_RANGE):
            raise EgressError(f"http_{fetched.status}")
        if fetched.status == _NO_SUCH_RANGE:  # there is no first byte
            raise UnreadableError("is an empty file")
        self.partial = fetched.status == _PARTIAL
        self.size = _size(fetched)
        self.head = b""
        self._ended = False
        self._fetched = fetched

    @property
    def whole(self) -> bool:
        """Whether the head is all of the file."""
        return self._ended and (not self.partial or self.size == len(self.head))

    async def read(self, up_to: int) -> None:
        """Have that many bytes of the head, or all that come."""
        parts = [self.head]
        length = len(self.head)
        while length < up_to and (chunk := await self._next()):
            parts.append(chunk)
            length += len(chunk)
        self.head = b"".join(parts)
        if self._ended and not self.partial:
            self.size = len(self.head)

    async def count(self, up_to: int) -> bool:
        """Count what is still to come, and keep none of it. Whether it was given up beyond `up_to`."""
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
    """The headers that ask for the file only if it is another one by now."""
    pairs = (("etag", "If-None-Match"), ("last-modified", "If-Modified-Since"))
    return {ask: fetched.headers[name] for name, ask in pairs if name in fetched.headers}


def _host(url: str) -> str:
    return url.partition("://")[2].partition("/")[0].partition("?")[0][:253]
