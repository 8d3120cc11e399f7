"""Logging raises nothing, whatever is logged and becomes of it; a server prints nothing beside its log."""

import json
import logging
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from io import StringIO
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest
import structlog

from app.kit import log
from app.kit.log import Aside, configure_logging, dropped_lines, flush_log, get_logger, log_stray_errors

Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lines]:
    """What was logged as JSON until it is asked for."""
    root = logging.getLogger()
    before = root.handlers[:], root.level, structlog.get_config()
    said = StringIO()
    monkeypatch.setattr("sys.stderr", said)
    for module, hook in ((sys, "excepthook"), (sys, "unraisablehook"), (threading, "excepthook")):
        monkeypatch.setattr(module, hook, getattr(module, hook))
    for name in ("as_json", "level", "pending"):
        monkeypatch.setattr(log._set_up, name, getattr(log._set_up, name))
    configure_logging(level="INFO", as_json=True)

    def read() -> list[dict[str, Any]]:
        assert flush_log()
        return [json.loads(line) for line in said.getvalue().splitlines()]

    yield read
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()
    structlog.configure(**before[2])


class Rude:
    """Raises whatever it is asked."""

    def __str__(self) -> NoReturn:
        raise RuntimeError("broken on purpose")

    __repr__ = __str__


@pytest.mark.parametrize(
    "value",
    [
        Rude(),
        "\ud800",
        b"\xff",
        2**200,
        float("nan"),
        {1: Rude()},
        {("a",): 1},
        ValueError(Rude()),
        lambda: 0,
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_line_is_made_of_any_value_or_counted_as_lost(lines: Lines, value: object) -> None:
    before = dropped_lines()
    get_logger("x").info("It happened.", value=value, other="kept")
    found = lines()
    assert len(found) + dropped_lines() - before == 1
    assert all((line["event"], line["other"]) == ("It happened.", "kept") for line in found)


def test_an_exception_that_cannot_be_shown_is_no_reason_to_raise(lines: Lines) -> None:
    try:
        raise ValueError(Rude())  # noqa: TRY301 - to be logged
    except ValueError:
        get_logger("x").exception("It failed.")
        logging.getLogger("library").exception("It failed.")
    (ours,) = [one for one in logging.getLogger().handlers if isinstance(one, log._Handler)]
    ours.handle(logging.LogRecord("library", logging.WARNING, __file__, 1, "%d", ("no number",), None))
    lines()


def test_a_log_that_raises_is_counted_and_reaches_nobody(
    lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> NoReturn:
        raise OSError("broken on purpose")

    before = dropped_lines()
    monkeypatch.setattr(log, "_as_json", broken)
    get_logger("x").error("It happened.")
    monkeypatch.setattr(log._Formatter, "format", broken)
    logging.getLogger("library").error("It happened.")
    assert dropped_lines() == before + 2
    assert lines() == []


def test_what_fails_aside_is_logged_by_its_name_and_goes_no_further(lines: Lines) -> None:
    with Aside("the health of a credential"):
        raise ValueError("broken on purpose")
    (line,) = lines()
    assert (line["level"], line["what"]) == ("error", "the health of a credential")
    assert "broken on purpose" in line["exception"]


def test_a_cancellation_is_not_held_up_aside() -> None:
    with pytest.raises(KeyboardInterrupt), Aside("anything"):
        raise KeyboardInterrupt


def test_warnings_and_errors_that_nothing_caught_are_lines_of_the_log(lines: Lines) -> None:
    log_stray_errors()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old on purpose", stacklevel=1)

    def fail() -> NoReturn:
        raise ValueError("in a thread")

    thread = threading.Thread(target=fail, name="doomed")
    thread.start()
    thread.join()
    error = ValueError("at the end")
    sys.excepthook(ValueError, error, None)
    sys.unraisablehook(SimpleNamespace(object=fail, exc_value=ValueError("in a finaliser")))
    told = lines()
    assert [line["level"] for line in told] == ["warning", "error", "error", "error"]
    assert "old on purpose" in told[0]["event"]
    for line, what in zip(told[1:], ("in a thread", "at the end", "in a finaliser"), strict=True):
        assert what in line["exception"]
    assert told[1]["thread"] == "doomed"


def test_a_process_without_standard_error_logs_nothing_and_works(
    lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr", None)
    before = dropped_lines()
    for as_json in (True, False):
        configure_logging(level="INFO", as_json=as_json)
        get_logger("x").info("It happened.")
    assert dropped_lines() == before + 2
    assert lines() == []


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"status": 200, "path": '/v1/\u00fc"x'},
        {"trace_id": "own", "at": object},
        {"exc_info": True},
        {"exc_info": False},
    ],
)
def test_a_line_is_as_structlog_would_write_it(lines: Lines, fields: dict[str, Any]) -> None:
    _have_structlog_write_json()
    token = log.trace_id_var.set("7" * 32)
    try:
        raise ValueError("broken on purpose")  # noqa: TRY301 - to be logged
    except ValueError as error:
        theirs = structlog.get_logger(component="x")
        for more in (fields, {"exc_info": error}):
            get_logger("x").warning("It happened.", **more)
            theirs.warning("It happened.", **more)
        get_logger("x").exception("It failed.", **fields)
        theirs.exception("It failed.", **fields)
    finally:
        log.trace_id_var.reset(token)
    said = [list((one | {"timestamp": ""}).items()) for one in lines()]
    assert len(said) == 6
    assert said[::2] == said[1::2]


def _have_structlog_write_json() -> None:
    processors: list[Any] = [
        log._add_trace_id,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        lambda _logger, _method, event: log._as_json(event),
    ]
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=lambda *_: log._lines,
    )


def test_the_quick_line_of_a_component_is_as_any_other(lines: Lines) -> None:
    token = log.trace_id_var.set("7" * 32)
    try:
        log.JSONLines("x").info("It happened.", '"status":200', "7" * 32)
        get_logger("x").info("It happened.", status=200)
        get_logger("x").debug("It did not happen.")
    finally:
        log.trace_id_var.reset(token)
    quick, slow = (list((one | {"timestamp": ""}).items()) for one in lines())
    assert quick == slow


def test_a_line_of_a_library_is_as_ours_and_names_its_logger(lines: Lines) -> None:
    try:
        raise ValueError("broken on purpose")  # noqa: TRY301 - to be logged
    except ValueError:
        logging.getLogger("library").exception("It failed: %s.", "so", stack_info=True)
    logging.getLogger("library").debug("It did not happen.")
    (line,) = lines()
    assert list(line) == ["event", "stack_info", "level", "timestamp", "exception", "logger"]
    assert (line["event"], line["level"], line["logger"]) == ("It failed: so.", "error", "library")
    assert line["exception"].startswith("Traceback")
    assert line["exception"].endswith("ValueError: broken on purpose")
