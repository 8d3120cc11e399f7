"""How RunComfy gets uploaded files: by a signed link to this gateway, or by value, as a `data:` URI."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from app.config import Settings
from app.db.engines.engine import Database
from app.files import rows
from app.files.links import Links, key_id_of
from app.files.rows import File
from app.kit.clock import Clock
from app.quotas.account import Owner
from app.storage.store import Store

LINK_PATH: Final = "/f/"
_COPIES_PATH: Final = "/a/"


class FileGoneError(Exception):
    """A file that a request names was deleted, or has expired, before the request was sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileLinks:
    """Makes addresses of files and copies below `base_url`."""

    links: Links
    base_url: str

    @classmethod
    def of(cls, settings: Settings) -> "FileLinks":
        """Returns what makes links with the keys that are set."""
        keys = {key_id_of(one): one for one in settings.link_keys()}
        return cls(links=Links(keys), base_url=settings.base_url)

    def url(self, file: File, *, expires_s: int) -> str:
        """Returns the address at which anybody may read a file until this second since 1970."""
        text = self.links.sign("files", file.tenant_id, file.id, expires_s=expires_s)
        return f"{self.base_url}{LINK_PATH}{text}"

    def copy_url(self, tenant_id: str, row_id: str, *, expires_s: int) -> str:
        """Returns the address at which anybody may read a copy; `row_id` is the asset's id without prefix."""
        text = self.links.sign("assets", tenant_id, row_id, expires_s=expires_s)
        return f"{self.base_url}{_COPIES_PATH}{text}"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSender:
    """Says what RunComfy is sent in place of references.

    With `by_value` it is the file itself; else a link that lasts `link_s` seconds.
    """

    db: Database
    clock: Clock
    store: Store
    links: FileLinks
    by_value: bool
    link_s: float

    async def texts_for(self, owner: Owner, file_ids: set[str]) -> Mapping[str, str]:
        """Returns what is sent for each of these files, by their ids.

        Raises:
            FileGoneError: one of them is not there any more.
            StorageError: the store does not give out a file that is sent by value.
            Problem: DATABASE_UNAVAILABLE.

        """
        now_ms = self.clock.now_ms()
        found = await self.db.read(rows.find_all, owner, file_ids)
        if any(one not in found or not found[one].is_there(now_ms) for one in file_ids):
            raise FileGoneError
        expires_s = now_ms // 1000 + int(self.link_s)
        return {
            file.id: await self._value(file) if self.by_value else self.links.url(file, expires_s=expires_s)
            for file in found.values()
        }

    async def _value(self, file: File) -> str:
        data = b"".join([chunk async for chunk in self.store.read(file.key, 0, file.bytes)])
        return f"data:{file.type};base64,{base64.b64encode(data).decode()}"
