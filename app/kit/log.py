"""Structured logs with one trace id for everything that one HTTP call caused (W3C Trace Context).

To log neither blocks nor raises, whatever becomes of the line: a thread writes it (`kit.log_writer`), and
what cannot be made or written is counted. So a line may stand anywhere, also between a paid call and its
record.

Lines for programs (JSON) are made here. structlog makes those for people; it is imported and set up when the
first one is written: a short command writes none, and need not wait for that.
"""

import atexit
import json
import logging
import re
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from types import TracebackType
from typing import Any, Final, TextIO

import orjson

from app.kit import redaction
from app.kit.log_writer import LogWriter
from app.kit.secrets import random_16_bytes

trace_id_var: ContextVar[str] = ContextVar("trace_id", default="")

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?\Z")
_NO_TRACE = "0" * 32


def new_trace_id() -> str:
    """Returns a random trace id of 32 lower-case hex digits."""
    return random_16_bytes().hex()


def trace_id_of(traceparent: str | None) -> str:
    """Returns the trace id of a `traceparent` header, or a new one where that is missing or malformed."""
    return trace_id_in(traceparent) or new_trace_id()


def trace_id_in(traceparent: str | None) -> str | None:
    """Returns the trace id of a `traceparent` header; None where that is missing or malformed."""
    match = _TRACEPARENT.match(traceparent) if traceparent else None
    return None if match is None or match[1] == _NO_TRACE else match[1]


def show_spans(span_id: Callable[[], str] | None) -> None:
    """Has every line name the present span, whose id the function returns; None for none."""
    _set_up.span_id = span_id


def get_logger(name: str) -> "Logger":
    """Returns a logger; events are short constant sentences, what varies goes into fields."""
    return Logger(name)


class Logger:
    """A logger whose methods raise nothing."""

    def __init__(self, component: str) -> None:
        self._component = component

    def debug(self, event: str, **fields: Any) -> None:
        """Logs what only a developer wants to see."""
        self._log("debug", event, fields)

    def info(self, event: str, **fields: Any) -> None:
        """Logs what is usual."""
        self._log("info", event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        """Logs what the operator should look at some time."""
        self._log("warning", event, fields)

    def error(self, event: str, **fields: Any) -> None:
        """Logs what the operator should look at now."""
        self._log("error", event, fields)

    def exception(self, event: str, **fields: Any) -> None:
        """Logs an error with the traceback of the exception that is being handled."""
        self._log("exception", event, fields)

    @cached_property
    def _logger(self) -> Any:
        import structlog  # noqa: PLC0415 - see above

        return structlog.get_logger(component=self._component)

    def _log(self, method: str, event: str, fields: dict[str, Any]) -> None:
        try:
            if _set_up.as_json:
                if method == "exception":
                    method, fields = "error", {"exc_info": True, **fields}
                if _LEVELS[method] >= _set_up.level:
                    _output.write(
                        _json_line(method, {"component": self._component, **fields, "event": event})
                    )
                return
            _set_up.now()
            getattr(self._logger, method)(event, **fields)
        except Exception:  # noqa: BLE001 - the caller's work does not depend on its log
            _output.lose()


def _json_line(level: str, line: dict[str, Any], logger: str | None = None) -> str:
    """Returns the line with what every line has, and with the traceback of its error, if it has one."""
    if trace_id := trace_id_var.get():
        line.setdefault("trace_id", trace_id)
    if _set_up.span_id is not None and (span_id := _set_up.span_id()):
        line.setdefault("span_id", span_id)
    line |= {"level": level, "timestamp": _timestamp()}
    if "exc_info" in line and (error := _error_of(line.pop("exc_info"))) is not None:
        line["exception"] = "".join(traceback.format_exception(error)).removesuffix("\n")
    if logger is not None:
        line["logger"] = logger
    return redaction.redactor.redact(_as_json(line))


def _error_of(exc_info: Any) -> BaseException | None:
    """Returns the error that `exc_info` stands for: itself, that of a triple, or the one being handled."""
    if isinstance(exc_info, BaseException):
        return exc_info
    found: BaseException | None
    if isinstance(exc_info, tuple):
        _, found, _ = exc_info
        return found
    return sys.exception() if exc_info else None


_LEVELS: Final = {name.lower(): level for name, level in logging.getLevelNamesMapping().items()}


class JSONLines:
    """Lines at INFO of one component in the form of `Logger.info`, at a tenth of its cost.

    For what happens thousands of times a second. The caller writes the fields as members of a JSON object,
    and sees to it that none has a secret in it.
    """

    def __init__(self, component: str) -> None:
        self._begin = f'{{"component":"{component}",'

    @property
    def are_written(self) -> bool:
        """Whether the log takes lines at INFO as JSON; if not, they are for `Logger.info`."""
        return _set_up.as_json and _set_up.level <= logging.INFO

    def info(self, event: str, members: str, trace_id: str) -> None:
        """Writes a line; `event` has no quotes in it."""
        _output.write(
            f'{self._begin}{members},"event":"{event}","trace_id":"{trace_id}","level":"info",'
            f'"timestamp":"{_timestamp()}"}}'
        )


def _timestamp() -> str:
    second, microseconds = divmod(time.time_ns() // 1000, 1_000_000)
    return f"{_second_of(second)}.{microseconds:06}Z"


@lru_cache(maxsize=2)
def _second_of(second: int) -> str:
    """Returns the date and time of a second, which many lines have."""
    return datetime.fromtimestamp(second, UTC).isoformat()[: -len("+00:00")]


_log = get_logger("log")


class Aside:
    """A block of what may fail beside the work that matters: what it raises is logged, and goes no further.

    For what stands between a paid call and its record, or is done after a commit: metrics, announcements, the
    health of credentials. `what` names it in the log.
    """

    __slots__ = ("_what",)

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        """Enters the block."""

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> bool:
        """Leaves the block, without its error."""
        if not isinstance(error, Exception):  # a cancellation goes its way
            return False
        _log.error("Something beside a request's work failed.", what=self._what, exc_info=error)
        return True


class _SetUp:
    """What is still to be done before the first line."""

    def __init__(self) -> None:
        self.pending: Callable[[], None] | None = None
        self.as_json = False
        self.level = logging.INFO
        self.span_id: Callable[[], str] | None = None

    def now(self) -> None:
        """Do it."""
        pending, self.pending = self.pending, None
        if pending is not None:
            pending()


_set_up = _SetUp()


class _Output:
    """Where finished lines go: to the writer of standard error, once there is one."""

    def __init__(self) -> None:
        self._writer: LogWriter | None = None
        self._stream: object = None
        self._lost = 0  # besides those that the writer dropped

    def open(self, stream: TextIO | None) -> None:
        """Writes to this stream from now on; None where this process has no standard error."""
        if self._writer is not None and stream is self._stream:
            return
        self.flush(_FLUSH_S)
        self._lost = self.dropped
        self._stream = stream
        self._writer = _writer_to(stream)

    def write(self, line: str) -> None:
        """Takes a finished line."""
        if self._writer is None:
            self.lose()
        else:
            self._writer.write(line.encode(errors="backslashreplace") + b"\n")

    def lose(self) -> None:
        """Counts a line that was lost."""
        if self._writer is None:
            self._lost += 1
        else:
            self._writer.lose()

    def flush(self, timeout_s: float) -> bool:
        """Waits until the lines so far are written; returns whether that was in time."""
        return self._writer is None or self._writer.flush(timeout_s)

    def close(self) -> None:
        """Writes what can be written in a short time, at the end of the process."""
        if self._writer is not None:
            self._writer.close(_FLUSH_S)

    @property
    def dropped(self) -> int:
        """The number of lines that were lost."""
        return self._lost + (0 if self._writer is None else self._writer.dropped)

    @property
    def buffered_bytes(self) -> int:
        """The size of the lines that are not written yet."""
        return 0 if self._writer is None else self._writer.buffered_bytes


_FLUSH_S: Final = 2.0  # for which the end of a process waits for the reader of its log
_output = _Output()
atexit.register(_output.close)


def dropped_lines() -> int:
    """Returns how many lines of this process's log were lost since it started."""
    return _output.dropped


def buffered_bytes() -> int:
    """Returns the size of the lines that wait for the reader of the log."""
    return _output.buffered_bytes


def flush_log(timeout_s: float = _FLUSH_S) -> bool:
    """Waits until the lines so far are written, and returns whether that was in time."""
    return _output.flush(timeout_s)


def _writer_to(stream: TextIO | None) -> LogWriter:
    if stream is None:
        return LogWriter(None, _gap_line)
    with suppress(OSError, ValueError):  # a stream in memory has none
        return LogWriter.to_descriptor(stream.fileno(), _gap_line)

    def write(part: memoryview) -> int:
        stream.write(bytes(part).decode(errors="replace"))
        return len(part)

    return LogWriter(write, _gap_line)


def _gap_line(count: int, why: str) -> bytes:
    """Returns the line that stands where others are missing."""
    line: Any = {"component": "log", "event": "Log lines were dropped.", "count": count, "reason": why}
    if _set_up.as_json:
        return f"{_json_line('warning', line)}\n".encode()
    shared, renderer = _processors()
    for process in (*shared, renderer):
        line = process(None, "warning", line)
    return f"{line}\n".encode()


def configure_logging(*, level: str, as_json: bool) -> None:
    """Send our logs and those of the libraries to standard error, one line an event."""
    _output.open(sys.stderr)
    root = logging.getLogger()
    root.handlers[:] = [_Handler(_Formatter(as_json=as_json))]
    root.setLevel(level)
    # These libraries log URLs, and so RunComfy's ids, at INFO.
    for name in ("httpx2", "httpcore2", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    _set_up.as_json = as_json
    _set_up.level = logging.getLevelNamesMapping()[level]
    _set_up.pending = None if as_json else lambda: _configure_structlog(level)
    if "structlog" in sys.modules:
        _set_up.now()


def set_level(level: str) -> None:
    """Sets the lowest severity that is logged from now on."""
    logging.getLogger().setLevel(level)
    _set_up.level = logging.getLevelNamesMapping()[level]
    if not _set_up.as_json:
        _configure_structlog(level)


def log_stray_errors() -> None:
    """Sends warnings, and errors that nothing caught, to the log of this process too.

    Python would print them, and a server must not wait for whoever reads that.
    """
    logging.captureWarnings(capture=True)

    def of_process(_kind: type[BaseException], error: BaseException, _trace: TracebackType | None) -> None:
        _log.error("The process ends with an error that nothing caught.", exc_info=error)

    def of_thread(caught: threading.ExceptHookArgs) -> None:
        if caught.exc_type is not SystemExit:
            name = None if caught.thread is None else caught.thread.name
            _log.error("A thread ended with an error.", thread=name, exc_info=caught.exc_value)

    def of_finalizer(caught: "sys.UnraisableHookArgs") -> None:
        _log.error("An error could not be raised.", where=repr(caught.object), exc_info=caught.exc_value)

    sys.excepthook = of_process
    threading.excepthook = of_thread
    sys.unraisablehook = of_finalizer


class _Handler(logging.Handler):
    """Takes the lines of libraries to the same writer; it raises nothing."""

    def __init__(self, formatter: logging.Formatter) -> None:
        super().__init__()
        self.setFormatter(formatter)

    def emit(self, record: logging.LogRecord) -> None:
        """Takes one record."""
        try:
            line = self.format(record)
        except Exception:  # noqa: BLE001 - whoever logs does not depend on its log
            _output.lose()
        else:
            _output.write(line)


class _Formatter(logging.Formatter):
    """How the lines of libraries look: as ours do."""

    def __init__(self, *, as_json: bool) -> None:
        super().__init__()
        self._as_json = as_json

    @cached_property
    def _formatter(self) -> logging.Formatter:
        import structlog  # noqa: PLC0415 - see above

        shared, renderer = _processors()
        return structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line."""
        if self._as_json:
            line: dict[str, Any] = {"event": record.getMessage()}
            if record.exc_info:
                line["exc_info"] = record.exc_info
            if record.stack_info:
                line["stack_info"] = record.stack_info
            return _json_line(record.levelname.lower(), line, record.name)
        return self._formatter.format(record)


def _configure_structlog(level: str) -> None:
    import structlog  # noqa: PLC0415 - see above

    shared, renderer = _processors()
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        logger_factory=lambda *_: _lines,
        cache_logger_on_first_use=False,
    )


class _Lines:
    """What structlog gives finished lines to."""

    debug = info = warning = error = critical = staticmethod(_output.write)


_lines: Final = _Lines()


def _processors() -> tuple[list[Any], Any]:
    """What every event for people goes through, and what makes a line without secrets of it."""
    import structlog  # noqa: PLC0415 - see above

    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        _add_trace_id,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    console = structlog.dev.ConsoleRenderer(
        colors=sys.stderr is not None and sys.stderr.isatty(),
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


def _as_json(event: Any) -> str:
    try:
        return orjson.dumps(event, default=_shown).decode()
    except TypeError:  # such as a text that is no valid Unicode, or a number beyond 64 bits
        return json.dumps(event, default=_shown)


def _shown(value: object) -> str:
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - a line is worth more than one of its fields
        return f"({type(value).__name__})"
