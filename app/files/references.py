"""Looking up the uploaded files that an input refers to, for whoever submits it."""

from collections.abc import Mapping
from dataclasses import dataclass

from app.auth.principal import Principal
from app.db.engines.engine import Database
from app.files import rows
from app.kit.clock import Clock
from app.media.facts import Facts
from app.quotas.account import Owner


class ReferenceRefused(ValueError):  # noqa: N818 - named after what happened
    """A file cannot be used. The message says why, in words for callers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class References:
    """Finds the facts of uploaded files, without reading them.

    `max_bytes` is the most that the files of an input may have together because they are sent by value; None:
    they are sent by links.
    """

    db: Database
    clock: Clock
    max_bytes: int | None

    async def facts(
        self, principal: Principal, file_ids: Mapping[str, str]
    ) -> dict[str, Facts | ReferenceRefused]:
        """Returns the facts of files by what their ids stand under, or why the caller may not use them.

        Raises:
            Problem: DATABASE_UNAVAILABLE.

        """
        owner, now_ms = Owner(principal.tenant_id, principal.mode), self.clock.now_ms()
        found = await self.db.read(rows.find_all, owner, set(file_ids.values()))
        facts: dict[str, Facts | ReferenceRefused] = {}
        left = self.max_bytes
        for place, file_id in file_ids.items():
            file = found.get(file_id)
            if file is None or not file.is_there(now_ms) or not rows.can_see(principal, file):
                facts[place] = ReferenceRefused(
                    "is no file that this caller may use: it may be deleted or expired"
                )
            elif left is not None and file.bytes > left:
                facts[place] = ReferenceRefused(
                    f"has {file.bytes:,} bytes, and is sent by value: at most {self.max_bytes:,} bytes fit,"
                    f" of which {left:,} are left"
                )
            else:
                left = None if left is None else left - file.bytes
                facts[place] = file.facts
        return facts
