"""Structured logs; all lines that one HTTP request causes share a trace id (W3C Trace Context)."""

import logging
import re
import secrets
import sys
from contextvars import ContextVar
from typing import Any

import orjson
import structlog

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
    """Returns a structlog logger.

    The event of a log line is a short constant sentence; whatever varies goes into fields.
    """
    return structlog.get_logger(component=name)


def configure_logging(*, level: str, as_json: bool) -> None:
    """Sends our logs and those of the libraries to standard error, one line for each event."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        _add_trace_id,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: Any
    if as_json:
        renderer = structlog.processors.JSONRenderer(serializer=_serialize)
        shared.append(structlog.processors.format_exc_info)
    else:
        renderer = structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(),
            # The default prints every local variable, which is slow, and some of them are secrets.
            exception_formatter=structlog.dev.plain_traceback,
        )
    structlog.configure(
        processors=[*shared, renderer, _redacted],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer, _redacted],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # These libraries log URLs, and so RunComfy's ids, at INFO.
    for name in ("httpx2", "httpcore2", "aiosqlite", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)


def _add_trace_id(_logger: Any, _method: str, event: dict[str, Any]) -> dict[str, Any]:
    if trace_id := trace_id_var.get():
        event.setdefault("trace_id", trace_id)
    return event


def _redacted(_logger: Any, _method: str, line: Any) -> str:
    """Returns the finished log line, traceback included, without secrets."""
    return redaction.redactor.redact(line)


def _serialize(event: Any, default: Any = str, **_: Any) -> str:
    return orjson.dumps(event, default=default).decode()
