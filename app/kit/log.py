"""Structured logs with one trace id for everything that one HTTP call caused (W3C Trace Context).

structlog is imported and set up when the first line is written: a short command writes none, and need not
wait for that.
"""

import logging
import re
import secrets
import sys
from collections.abc import Callable
from contextvars import ContextVar
from functools import cached_property
from typing import Any

import orjson

from app.kit import redaction

trace_id_var: ContextVar[str] = ContextVar("trace_id", default="")

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?\Z")
_NO_TRACE = "0" * 32


def new_trace_id() -> str:
    """Returns a random trace id of 32 lower-case hex digits."""
    return secrets.token_hex(16)


def trace_id_of(traceparent: str | None) -> str:
    """Returns the trace id of a `traceparent` header, or a new one where that is missing or malformed."""
    match = _TRACEPARENT.match(traceparent) if traceparent else None
    if match is None or match[1] == _NO_TRACE:
        return new_trace_id()
    return match[1]


def get_logger(name: str) -> Any:
    """A structlog logger; events are short constant sentences, what varies goes into fields."""
    return _Logger(name)


class _Logger:
    """A structlog logger, made when it is first used."""

    def __init__(self, component: str) -> None:
        self._component = component

    @cached_property
    def _logger(self) -> Any:
        import structlog  # noqa: PLC0415 - see above

        return structlog.get_logger(component=self._component)

    def __getattr__(self, name: str) -> Any:
        _set_up.now()
        return getattr(self._logger, name)


class _SetUp:
    """What is still to be done before the first line."""

    def __init__(self) -> None:
        self.pending: Callable[[], None] | None = None

    def now(self) -> None:
        """Do it."""
        pending, self.pending = self.pending, None
        if pending is not None:
            pending()


_set_up = _SetUp()


def configure_logging(*, level: str, as_json: bool) -> None:
    """Send our logs and those of the libraries to standard error, one line an event."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter(as_json=as_json))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # These libraries log URLs, and so RunComfy's ids, at INFO.
    for name in ("httpx2", "httpcore2", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    _set_up.pending = lambda: _configure_structlog(level, as_json=as_json)
    if "structlog" in sys.modules:
        _set_up.now()


class _Formatter(logging.Formatter):
    """How the lines of libraries look: as ours do."""

    def __init__(self, *, as_json: bool) -> None:
        super().__init__()
        self._as_json = as_json

    @cached_property
    def _formatter(self) -> logging.Formatter:
        import structlog  # noqa: PLC0415 - see above

        shared, renderer = _processors(as_json=self._as_json)
        return structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line."""
        return self._formatter.format(record)


def _configure_structlog(level: str, *, as_json: bool) -> None:
    import structlog  # noqa: PLC0415 - see above

    shared, renderer = _processors(as_json=as_json)
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )


def _processors(*, as_json: bool) -> tuple[list[Any], Any]:
    """What every event goes through, and what makes a line without secrets of it."""
    import structlog  # noqa: PLC0415 - see above

    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        _add_trace_id,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if as_json:
        shared.append(structlog.processors.format_exc_info)
        return shared, _redacting(_as_json)
    console = structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty(),
        # The default draws every local variable: slow, and some of them are secrets.
        exception_formatter=structlog.dev.plain_traceback,
    )
    return shared, _redacting(console)


def _add_trace_id(_logger: Any, _method: str, event: dict[str, Any]) -> dict[str, Any]:
    if trace_id := trace_id_var.get():
        event.setdefault("trace_id", trace_id)
    return event


def _redacting(render: Callable[[Any, str, Any], str]) -> Callable[[Any, str, Any], str]:
    """Returns the renderer with the secrets hidden in each finished line, traceback included."""

    def line(logger: Any, method: str, event: Any) -> str:
        return redaction.redactor.redact(render(logger, method, event))

    return line


def _as_json(_logger: Any, _method: str, event: Any) -> str:
    return orjson.dumps(event, default=repr).decode()
