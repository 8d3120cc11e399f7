"""A form with one file (`multipart/form-data`, RFC 7578), read as a stream: no file is ever whole in memory.

Fields may stand before the file, and nothing after it, so that everything is known before its first byte.
"""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Final

_BOUNDARY = re.compile(r'boundary=(?:"([^"\r\n]{1,70})"|([^\s;",]{1,70}))', re.IGNORECASE)
_NAME = re.compile(r';\s*name="([^"]*)"', re.IGNORECASE)
_FILE_NAME = re.compile(r';\s*filename="([^"]*)"', re.IGNORECASE)
_DISPOSITION = re.compile(r"^content-disposition:\s*form-data(;.*)$", re.IGNORECASE | re.MULTILINE)
_MAX_HEAD: Final = 8_192  # bytes of a part's headers, of a field, and of what follows the form
_MAX_FIELDS: Final = 20
AROUND_FILE: Final = 2 * (_MAX_FIELDS + 2) * _MAX_HEAD
"""How many bytes of a form are not its file, at most."""


class MultipartRefused(ValueError):  # noqa: N818 - named after what happened
    """The body is no such form. The message says why, in words for callers."""


def boundary_of(content_type: str) -> bytes:
    """Returns what stands between the parts of a form.

    Raises:
        MultipartRefused: the content type does not say it.

    """
    found = _BOUNDARY.search(content_type)
    if found is None:
        raise MultipartRefused("Content-Type has no `boundary`.")
    return (found[1] or found[2]).encode("latin-1")


@dataclass
class Form:
    """A form that is being read: `open` reads up to the file, `file` yields the file."""

    chunks: AsyncIterator[bytes | memoryview]
    boundary: bytes
    fields: dict[str, str] = field(default_factory=dict)
    file_name: str | None = None
    _held: bytearray = field(default_factory=bytearray)

    async def open(self) -> None:
        """Reads the fields, and the head of the file.

        Raises:
            MultipartRefused: the body is no form, or has no file.

        """
        self._held += b"\r\n"  # the first boundary stands at the beginning of a line too
        if await self._until(b"\r\n--" + self.boundary):
            raise MultipartRefused("The body does not begin with its boundary.")
        for _ in range(_MAX_FIELDS):
            if (end := await self._until(b"\r\n")) == b"--":
                raise MultipartRefused("The form has no file. Name it `file`.")
            if end.strip():
                raise MultipartRefused("A boundary is not followed by a line break.")
            head = _text_of(await self._until(b"\r\n\r\n", also=b"\r\n"))
            found = _DISPOSITION.search(head)
            name = None if found is None else _NAME.search(found[1])
            if found is None or name is None:
                raise MultipartRefused("A part of the form has no name.")
            file_name = _FILE_NAME.search(found[1])
            if file_name is not None or name[1] == "file":
                self.file_name = file_name[1] if file_name is not None else None
                return
            if name[1] in self.fields:
                raise MultipartRefused(f"The field {name[1][:100]!r} stands twice.")
            self.fields[name[1]] = _text_of(await self._until(b"\r\n--" + self.boundary))
        raise MultipartRefused(f"The form has more than {_MAX_FIELDS} fields.")

    async def file(self) -> AsyncIterator[bytes | memoryview]:
        """Yields the bytes of the file.

        Raises:
            MultipartRefused: the form ends within it, or something follows it.

        """
        end = b"\r\n--" + self.boundary
        while (at := self._held.find(end)) < 0:
            if (ready := len(self._held) - len(end)) > 0:
                whole, self._held = self._held, self._held[ready:]
                yield memoryview(whole)[:ready]
            if not await self._more():
                raise MultipartRefused("The form ends within the file.")
        yield bytes(self._held[:at])
        del self._held[: at + len(end)]
        if await self._until(b"--") != b"":
            raise MultipartRefused("Something follows the file; fields must stand before it.")
        length = len(self._held)
        async for chunk in self.chunks:  # an epilogue, which says nothing
            length += len(chunk)
            if length > _MAX_HEAD:
                raise MultipartRefused("The form goes on behind its end.")

    async def _until(self, end: bytes, *, also: bytes = b"") -> bytes:
        """Returns what stands before `end`, without it; nothing where the held bytes begin with `also`."""
        while (at := self._held.find(end)) < 0:
            if also and self._held.startswith(also):
                return b""
            if len(self._held) > _MAX_HEAD:
                raise MultipartRefused("A part of the form before the file is too long.")
            if not await self._more():
                raise MultipartRefused("The form ends too early.")
        found = bytes(self._held[:at])
        del self._held[: at + len(end)]
        return found

    async def _more(self) -> bool:
        chunk = await anext(self.chunks, None)
        if chunk is not None:
            self._held += chunk
        return chunk is not None


def _text_of(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise MultipartRefused("A part of the form before the file is not in UTF-8.") from None
