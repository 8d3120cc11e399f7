"""Watches whatever leaves a gateway for secrets that tests have planted: log lines, answers, databases.

Log lines are looked at before they are redacted: the redactor is a net, and nothing is meant to fall into it.
"""

import re
import traceback
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from typing import Any

import httpx2
from sqlalchemy import Connection, select

from app.auth import keys
from app.db.tables import metadata

_KEY = re.compile(r"rg_(?:live|test)_[0-9A-Za-z]{12}_[0-9A-Za-z]{39}")
_LEAST = 8


@dataclass
class Canary:
    """What must not be seen, and where it was. Our keys need not be planted: their checksum tells them."""

    planted: set[str] = field(default_factory=set)
    leaks: list[str] = field(default_factory=list)

    def plant(self, *secrets: str) -> None:
        self.planted |= {one for one in secrets if len(one) >= _LEAST}

    def inspect(self, where: str, text: str) -> None:
        found = [one for one in self.planted if one in text]
        if "rg_" in text:
            found += [one for one in _KEY.findall(text) if keys.parse(one) is not None]
        self.leaks += [f"{where}: …{one[:6]}… in {text[:300]!r}" for one in found]

    def take(self) -> list[str]:
        """What was found since the last call."""
        found, self.leaks = self.leaks, []
        return found

    def log(self, _logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """A processor of structlog's, before any other."""
        text = " ".join(f"{name}={value}" for name, value in event.items())
        self.inspect("a log line", text + (traceback.format_exc() if event.get("exc_info") else ""))
        return event

    def dump(self, connection: Connection) -> None:
        """Every row of every table."""
        for table in metadata.sorted_tables:
            for row in connection.execute(select(table)):
                self.inspect(f"the table {table.name}", " ".join(map(str, row)))


canary = Canary()
"""The session's own."""


class WatchedTransport(httpx2.ASGITransport):
    """Has every answer looked at, as the client gets it."""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        answer = await super().handle_async_request(request)
        await answer.aread()
        where = f"the answer to {request.method} {request.url.path}"
        canary.inspect(where, f"{answer.headers}\n{answer.text}")
        return answer
