"""What a store of bytes does, and what its keys look like.

Keys are made of identifiers of ours alone, so no caller has a say in where anything lies. The bytes of a key
never change: a key belongs to one row of the database, and goes with it.
"""

import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from app.storage.incoming import Received

Kind = Literal["files", "assets", "incoming"]
"""Uploads of callers, copies of outputs, and direct uploads that were not judged yet."""

INCOMING: Final = "incoming"
CHUNK_BYTES: Final = 262_144  # what is read and written at a time
_KEY = re.compile(r"(?:[A-Za-z0-9_-][A-Za-z0-9._-]*/)*[A-Za-z0-9_-][A-Za-z0-9._-]*")
_PART = re.compile(r"[A-Za-z0-9_-]{1,100}")


class StorageError(Exception):
    """The store cannot do it now. `reason` is for the log; callers are told that the store is away."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Post:
    """A form that a browser sends to the store itself: its address, and the fields before the file."""

    url: str
    fields: Mapping[str, str]


class Store(Protocol):
    """Bytes by key. Everything raises StorageError where the store does not answer, or answers oddly."""

    takes_forms: bool
    """Whether clients can send files to the store itself."""

    async def put(self, key: str, received: Received, *, media_type: str) -> None:
        """Keeps the received file under the key: afterwards all of it is durable, or nothing is there.

        It takes the received file away (on disk, its file becomes the stored one).
        """

    async def size(self, key: str) -> int | None:
        """Returns the number of bytes under the key, or None where there is nothing."""

    def read(self, key: str, start: int = 0, end: int | None = None) -> AsyncGenerator[bytes, None]:
        """Yields the bytes from `start` up to but not including `end`; fewer are an error.

        The iterator has to be closed (`aclosing`) by whoever does not exhaust it.
        """

    async def delete(self, key: str) -> None:
        """Removes what is under the key; nothing there is fine."""

    def keys(self, prefix: str) -> AsyncIterator[tuple[str, int]]:
        """Yields each key that begins with the prefix, which ends with a slash, and its number of bytes."""

    def link(self, key: str, *, expires_s: int, media_type: str, disposition: str) -> str | None:
        """Returns a URL at which anybody may read the bytes for a while; None where the store has none."""

    def post(self, key: str, *, expires_s: int, media_type: str, max_bytes: int) -> Post | None:
        """Returns a form for one upload to the store itself; None where the store takes none.

        Whoever has the form may use it again until it expires: `move` the bytes before judging them.
        """

    async def move(self, source: str, key: str) -> None:
        """Puts what is under `source` under the key, which nobody else can write to.

        Raises KeyError where there is nothing under `source`.
        """

    async def close(self) -> None:
        """Closes connections."""


def key_of(kind: Kind, tenant_id: str, name: str) -> str:
    """Returns the key of the bytes of one row: its tenant's and its own identifier.

    It is the row's and not the content's: whoever deletes a row deletes its bytes, and cannot meet somebody
    who stores the same content at that moment.
    """
    if not _PART.fullmatch(tenant_id) or not _PART.fullmatch(name):
        raise ValueError("a key is made of identifiers of ours")
    return f"{kind}/{tenant_id}/{name}"


def checked(key: str) -> str:
    """Returns the key, if it is one: no empty part, none that begins with a dot, nothing odd.

    Raises:
        ValueError: it is none; a caller of ours is wrong.

    """
    if not _KEY.fullmatch(key):
        raise ValueError(f"{key[:100]!r} is no key of the store")
    return key
