"""A server whose parts are timed: `python -m bench.timed`, a process of its own under `bench.shares`.

It is `reelgate serve`. Each line on its standard input (`with` or `without` callers) is answered with the
nanoseconds of processor that were taken since the line before, by the process and by the parts, as JSON.
"""

import json
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

from sqlalchemy import Connection

from app.auth.callers import NOBODY
from app.cli.entry import main
from app.generations import store
from app.quotas.sums import rollups

_taken: Final = {"roll_ups": 0, "insert": 0}
_gate: Final = threading.Lock()
_keeps_callers = threading.Event()


def of_process(pid: int) -> int:
    """Returns the nanoseconds of processor of a process with one thread."""
    return int(Path(f"/proc/{pid}/schedstat").read_text(encoding="ascii").split()[0])


def _timed(name: str, function: Callable[..., Any], *, asks: bool) -> Callable[..., Any]:
    """Adds up what a function takes of its thread and, where it `asks`, of the database's process behind it.

    What reading the time of another process takes is left out.
    """

    def timed(*args: Any, **kwargs: Any) -> Any:
        pid = _backend(next(one for one in args if isinstance(one, Connection))) if asks else None
        of_backend = 0 if pid is None else -of_process(pid)
        began = time.thread_time_ns()
        try:
            return function(*args, **kwargs)
        finally:
            took = time.thread_time_ns() - began
            of_backend += 0 if pid is None else of_process(pid)
            with _gate:
                _taken[name] += took + of_backend

    return timed


def _backend(connection: Connection) -> int | None:
    driver: Any = connection.connection.driver_connection
    return None if connection.dialect.name == "sqlite" else driver.info.backend_pid


def _insert(insert: Callable[..., Any]) -> Callable[..., Any]:
    timed = _timed("insert", insert, asks=True)

    def with_or_without(connection: Connection, intent: Any, **kwargs: Any) -> Any:
        if not _keeps_callers.is_set():
            intent = replace(intent, caller=NOBODY)
        return timed(connection, intent, **kwargs)

    return with_or_without


def _time_parts() -> None:
    # `count` only notes what is to be added; `_add` writes it.
    patch.object(rollups, "count", _timed("roll_ups", rollups.count, asks=False)).start()
    patch.object(rollups, "_add", _timed("roll_ups", rollups._add, asks=True)).start()  # noqa: SLF001 - as above
    patch.object(store, "insert", _insert(store.insert)).start()


def _answer() -> None:
    before = time.process_time_ns()
    for line in sys.stdin:
        with _gate:
            taken = dict(_taken)
            _taken.update(dict.fromkeys(_taken, 0))
        now = time.process_time_ns()
        print(json.dumps({"process": now - before, **taken}), flush=True)
        before = now
        _keeps_callers.set() if line.strip() == "with" else _keeps_callers.clear()


if __name__ == "__main__":
    _time_parts()
    threading.Thread(target=_answer, daemon=True).start()
    sys.argv[1:] = ["serve"]
    main()
