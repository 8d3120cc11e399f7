"""Watches whatever leaves a gateway for secrets that tests have planted: log lines, answers, databases.

Log lines are looked at before they are redacted: the redactor is a net, and nothing is meant to fall into it.
"""

import copy
import json
import logging
import re
import sys
import traceback
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch
from urllib.parse import quote

import httpx2
import structlog
from sqlalchemy import Connection, exists, select
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog import BoundLoggerBase

from app.auth import keys
from app.auth.admin_keys import kid_in
from app.db.schema.tables import metadata
from app.kit import log

_KEY = re.compile(r"rg_(?:live|test|client|admin)_[0-9A-Za-z]{12}_[0-9A-Za-z]{39}")
_MINTS = ("/v1/client-tokens", "/playground/token")
_MINTED = re.compile(r'^\{"token":"rg_client_[0-9A-Za-z_]+"')
# Whoever makes a key is shown it, once.
_MAKES_KEYS = re.compile(r"(/admin)?/v1/(admin-)?keys(/[0-9A-Za-z]{12}/rotate)?")
_MADE = re.compile(r'"key":"rg_(live|test|admin)_[0-9A-Za-z_]+"')
_MIN = 8
_AROUND = 100  # characters that a finding shows to either side
_LONGEST = 400  # of a secret that comes in two pieces of an answer
_PLAIN = logging.Formatter()


@dataclass
class Canary:
    """What must not be seen, and where it was. Our keys need not be planted: their checksum tells them."""

    planted: set[str] = field(default_factory=set)
    leaks: list[str] = field(default_factory=list)

    def plant(self, *secrets: str) -> None:
        """Look for these from now on, also as URLs and JSON write them."""
        for one in secrets:
            if len(one) >= _MIN:
                self.planted |= {one, quote(one), quote(one, safe=""), json.dumps(one)[1:-1]}

    def inspect(self, where: str, text: str) -> bool:
        """Whether something was found."""
        found = [one for one in self.planted if one in text]
        if "rg_" in text:
            found += [one for one in _KEY.findall(text) if keys.parse(one) is not None or kid_in(one)]
        for one in found:
            at = text.index(one)
            around = text[max(0, at - _AROUND) : at + len(one) + _AROUND]
            self.leaks.append(f"{where}: {one[:12]}… in {around!r}")
        return bool(found)

    def take(self) -> list[str]:
        """What was found since the last call, each once."""
        found, self.leaks = list(dict.fromkeys(self.leaks)), []
        return found

    @contextmanager
    def hearing(self) -> Iterator[None]:
        """Hear every line of ours, of structlog's and of logging's, however both are set up meanwhile."""
        process, make = BoundLoggerBase._process_event, logging.getLogRecordFactory()
        write = log._json_line

        def processed(logger: BoundLoggerBase, method: str, event: str | None, more: dict[str, Any]) -> Any:
            bound = {**structlog.contextvars.get_contextvars(), **logger._context}
            self.log(logger, method, {**bound, **more, "event": event})
            return process(logger, method, event, more)

        def written(level: str, line: dict[str, Any], logger: str | None = None) -> str:
            self.log(None, level, dict(line))
            return write(level, line, logger)

        def made(*args: Any, **kwargs: Any) -> logging.LogRecord:
            record = make(*args, **kwargs)
            self.inspect(f"a line of {record.name}", _whole(record))
            return record

        logging.setLogRecordFactory(made)
        try:
            with (
                patch.object(BoundLoggerBase, "_process_event", processed),
                patch.object(log, "_json_line", written),
            ):
                yield
        finally:
            logging.setLogRecordFactory(make)

    def log(self, _logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """Look at one event of structlog's; also a processor, before any other."""
        told = " ".join(f"{name}={value} {value!r}" for name, value in event.items())
        self.inspect("a log line", told + _trace(event))
        return event

    def watching(self, app: ASGIApp) -> ASGIApp:
        """The application, each piece of whose answers is looked at on its way."""

        async def watched(scope: Scope, receive: Receive, send: Send) -> None:
            where = f"the answer to {scope.get('method')} {scope.get('path')}"
            before = ""

            async def seen(message: Message) -> None:
                nonlocal before
                for name, value in message.get("headers", ()):
                    self.inspect(f"{where}, headers", f"{name.decode('latin-1')}: {value.decode('latin-1')}")
                text = before + message.get("body", b"").decode(errors="replace")
                if scope.get("path") in _MINTS:  # what it answers with, once, and at its beginning
                    text = _MINTED.sub("{", text, count=1)
                if scope.get("method") == "POST" and _MAKES_KEYS.fullmatch(scope.get("path", "")):
                    text = _MADE.sub("{", text, count=1)
                before = "" if self.inspect(where, text) else text[-_LONGEST:]
                await send(message)

            await app(scope, receive, seen)

        return watched

    def dump(self, connection: Connection) -> None:
        """Look at every row of every table."""
        tables = metadata.sorted_tables
        filled = connection.execute(select(*(exists(table.select()) for table in tables))).one()
        for table in (table.name for table, has_rows in zip(tables, filled, strict=True) if has_rows):
            rows = connection.exec_driver_sql(f'SELECT * FROM "{table}"').all()  # noqa: S608 - our own names
            self.inspect(f"the table {table}", "\n".join(" ".join(map(str, row)) for row in rows))


canary = Canary()
"""The session's own."""


class WatchedTransport(httpx2.ASGITransport):
    """Has every answer looked at; whoever takes its `app` for a stream does, too."""

    def __init__(self, app: ASGIApp, **more: Any) -> None:
        super().__init__(canary.watching(app), **more)


def _trace(event: Mapping[str, Any]) -> str:
    error = event.get("exc_info")
    if isinstance(error, tuple):
        error = error[1]
    elif error and not isinstance(error, BaseException):
        error = sys.exception()
    return "".join(traceback.format_exception(error)) if isinstance(error, BaseException) else ""


def _whole(record: logging.LogRecord) -> str:
    """The line with its traceback; formatting a copy leaves nothing behind for other formatters."""
    try:
        return _PLAIN.format(copy.copy(record))
    except (TypeError, ValueError, KeyError):  # its arguments do not fit: logging says so itself
        return f"{record.msg} {record.args}"
