"""A file at a URL, read forward: by ranges where its server does them, else from one whole response.

Servers do ranges badly in many ways: they refuse the header, answer with less than they say, or with another
part. Then the file is fetched with a plain GET, of which no more is read than is needed.
"""

import re
import zlib
from collections.abc import Mapping
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Final, Self

from app.egress.client import Egress, EgressError, Fetched, Reach
from app.media.facts import UnreadableError
from app.media.formats import MAX_HEADER_BYTES

CHANGED: Final = "changed"
"""Why a file is not fetched on: its parts are not of one file. Without ranges it can be read all the same."""

FIRST_BYTES: Final = 65_536
# Further ranges are longer and longer, so that few are needed; no more of them is read than is wanted.
_LENGTHS: Final = (524_288, 2_097_152, MAX_HEADER_BYTES)
_MAX_RANGES: Final = 8  # after these the server is asked for the whole file
_SKIPPED: Final = 131_072  # bytes that take less time to read than another connection
_WINDOW: Final = 4_096
_DECODED: Final = 65_536  # bytes that a compressed body may grow by at a time

_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)")
_OK, _PARTIAL, _NOT_MODIFIED, _NO_SUCH_RANGE = 200, 206, 304, 416
# Statuses that say the same with and without a range: unauthorized, not found, gone, too many requests.
_FINAL: Final = frozenset({401, 404, 410, 429})
_GZIP, _ZLIB, _RAW = 31, 15, -15  # zlib's numbers of containers


class RemoteFile:
    """The file at a URL; use it as an asynchronous context manager.

    `size_bytes` is None until it is known. `is_candid` says whether callers may be told what its server
    answers. Every method raises EgressError where the file cannot be fetched (on), and UnreadableError
    where it is sent in a form that cannot be read.
    """

    def __init__(self, egress: Egress, url: str, reach: Reach, *, ranges: bool = True) -> None:
        self._egress = egress
        self._may_use_ranges = ranges
        self._url = url
        self._reach = reach
        self._stack = AsyncExitStack()
        self._fetched: Fetched | None = None
        self._decoder: _Decoder | None = None
        self._by_ranges = False
        self._ranges = 0
        self._part_end = 0  # offset behind the part that is being read by a range
        self._kept = bytearray()
        self._start = 0  # offset of the first byte that is kept
        self._position = 0  # offset of the next byte of the response
        self._ended = False
        self.size_bytes: int | None = None
        self.validators: Mapping[str, str] = {}

    async def __aenter__(self) -> Self:
        """Does nothing yet; `open` connects."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes the connection, if there is one."""
        await self._stack.aclose()

    @property
    def is_candid(self) -> bool:
        """Whether callers may be told what the server answers; see `Fetched`."""
        return self._fetched is not None and self._fetched.candid

    async def open(self, validators: Mapping[str, str]) -> bool:
        """Sends the first request; returns False where the file is still that of the validators."""
        first = _range(0, FIRST_BYTES) if self._may_use_ranges else {}
        fetched = await self._send({**first, **validators})
        if fetched.status == _NOT_MODIFIED and validators:
            return False
        self.validators = _validators(fetched)
        if fetched.status == _NO_SUCH_RANGE and fetched.headers.get("content-range") == "bytes */0":
            raise UnreadableError("is empty")
        if not self._begin_part(fetched, 0):
            await self._begin_whole(fetched)
        return True

    async def read(self, at: int, length: int) -> bytes:
        """Returns the bytes from an offset: `length` or more, fewer where the file ends before.

        The offset never goes back.
        """
        passed = min(at - self._start, len(self._kept))
        del self._kept[:passed]
        self._start = at if not self._kept else self._start + passed
        while self._start + len(self._kept) < at + length and not self._ended:
            await self._read_on()
        return bytes(self._kept[: max(length, _WINDOW)])

    async def count(self, up_to: int) -> bool:
        """Counts the size where it is not known; returns whether it stopped beyond `up_to`."""
        if self.size_bytes is not None:
            return False
        if self._by_ranges:
            await self._begin_whole(None)
        while not self._ended and self.size_bytes is None:
            self._kept.clear()
            self._start = self._position
            if self._position > up_to:
                self.size_bytes = self._position
                return True
            await self._read_on()
        return False

    async def _read_on(self) -> None:
        """Reads the next bytes, from another range or from the whole file where they need that."""
        if self._by_ranges:
            wanted = max(self._start, self._position)
            try:
                if self._position >= self._part_end or wanted - self._position > _SKIPPED:
                    await self._next_part(wanted)
                    return
                chunk = await self._chunk()
            except EgressError as error:
                if error.reason == CHANGED:
                    raise
                chunk = b""
            if not chunk:  # less than the server said
                await self._begin_whole(None)
                return
        else:
            chunk = await self._chunk()
            if not chunk:
                self._ended = True
                self.size_bytes = self._position
                return
        begin, self._position = self._position, self._position + len(chunk)
        at = self._start + len(self._kept) - begin
        if at < len(chunk):
            self._kept += chunk[max(0, at) :]

    async def _chunk(self) -> bytes:
        fetched = self._fetched
        if fetched is None:
            return b""
        return await (fetched.chunk() if self._decoder is None else self._decoder.chunk(fetched))

    async def _next_part(self, at: int) -> None:
        if self.size_bytes is not None and at >= self.size_bytes:
            self._ended = True
            return
        if self._ranges >= _MAX_RANGES:
            await self._begin_whole(None)
            return
        length = _LENGTHS[min(self._ranges, len(_LENGTHS)) - 1]
        size_bytes, validators = self.size_bytes, self.validators
        fetched = await self._send(_range(at, length))
        if fetched.status == _NO_SUCH_RANGE and size_bytes is None:
            self._ended = True
            self.size_bytes = at
        elif not self._begin_part(fetched, at):
            await self._begin_whole(fetched)
        elif (_validators(fetched), self.size_bytes) != (validators, size_bytes or self.size_bytes):
            raise EgressError(CHANGED, candid=fetched.candid)

    def _begin_part(self, fetched: Fetched, at: int) -> bool:
        """Begins to read a range; returns False where the response is none from that offset."""
        matched = _CONTENT_RANGE.fullmatch(fetched.headers.get("content-range", ""))
        if fetched.status != _PARTIAL or _codings(fetched) or matched is None or int(matched[1]) != at:
            return False
        self._by_ranges = True
        self._ranges += 1
        self._position, self._part_end = at, int(matched[2]) + 1
        self.size_bytes = None if matched[3] == "*" else int(matched[3])
        return self._part_end > at

    async def _begin_whole(self, fetched: Fetched | None) -> None:
        """Begins to read the whole file: from this response, or from one to a plain GET."""
        if fetched is None or fetched.status != _OK:
            if fetched is not None and fetched.status in _FINAL:
                raise EgressError(f"http_{fetched.status}", candid=fetched.candid)
            fetched = await self._send({})
        if fetched.status != _OK and not _is_whole(fetched):
            raise EgressError(f"http_{fetched.status}", candid=fetched.candid)
        self._by_ranges, self._position = False, 0
        before, self._decoder, self.size_bytes = self.size_bytes, None, None
        if codings := _codings(fetched):
            self._decoder = _Decoder(codings)
        else:
            length = fetched.headers.get("content-length", "")
            if length.isascii() and length.isdigit() and len(length) < 19:  # noqa: PLR2004 - 2**63
                self.size_bytes = int(length)
        if before is not None and self.size_bytes not in {None, before}:
            raise EgressError(CHANGED, candid=fetched.candid)

    async def _send(self, headers: Mapping[str, str]) -> Fetched:
        await self._stack.aclose()
        self._fetched = None
        self._fetched = await self._stack.enter_async_context(
            self._egress.get(self._url, self._reach, headers)
        )
        return self._fetched


class _Decoder:
    """Decodes a body that is compressed although that was not asked for, a bounded piece at a time."""

    def __init__(self, codings: str) -> None:
        if codings not in {"gzip", "x-gzip", "deflate"}:
            raise UnreadableError(
                f"is sent with Content-Encoding {codings[:40]!r}, which was not asked for and is not read"
            )
        self._codings = codings
        self._zlib: zlib._Decompress | None = None if codings == "deflate" else zlib.decompressobj(_GZIP)
        self._input = b""

    async def chunk(self, fetched: Fetched) -> bytes:
        """Returns the next decoded bytes; empty bytes at the end."""
        while self._zlib is None or not self._zlib.eof:
            more = b"" if self._input and self._zlib is not None else await fetched.chunk()
            self._input += more
            if self._zlib is None and more and len(self._input) < 2:  # noqa: PLR2004 - zlib's header
                continue
            data = self._decoded()
            if data:
                return data
            if not (more or self._input):
                raise EgressError("cut_coding", candid=fetched.candid)
        return b""

    def _decoded(self) -> bytes:
        if self._zlib is None:
            # Half of the servers that say deflate send the bare stream, without zlib's header.
            start = int.from_bytes(self._input[:2], "big")
            is_zlib = start >> 8 & 15 == 8 and start % 31 == 0  # noqa: PLR2004 - deflate's number
            self._zlib = zlib.decompressobj(_ZLIB if is_zlib else _RAW)
        try:
            data = self._zlib.decompress(self._input, _DECODED)
        except zlib.error as error:
            raise UnreadableError(f"is sent with a broken Content-Encoding {self._codings!r}") from error
        self._input = self._zlib.unconsumed_tail
        return data


def _range(at: int, length: int) -> dict[str, str]:
    return {"Range": f"bytes={at}-{at + length - 1}"}


def _is_whole(fetched: Fetched) -> bool:
    """Returns whether a part for which nobody asked is the whole file: some servers name every answer so."""
    said = _CONTENT_RANGE.fullmatch(fetched.headers.get("content-range", ""))
    return (
        fetched.status == _PARTIAL
        and said is not None
        and int(said[1]) == 0
        and said[3] == str(int(said[2]) + 1)
    )


def _codings(fetched: Fetched) -> str:
    codings = fetched.headers.get("content-encoding", "").strip().lower()
    return "" if codings in {"identity", "none", "utf-8", "binary"} else codings


def _validators(fetched: Fetched) -> dict[str, str]:
    """Returns the request headers that fetch the file only if it has changed since."""
    pairs = (("etag", "If-None-Match"), ("last-modified", "If-Modified-Since"))
    return {ask: fetched.headers[name] for name, ask in pairs if name in fetched.headers}
