"""Counts the functions and files that a call runs through, and how often the file changes on the way.

It measures how much of the code a reader has to follow. It counts what runs of `app/` in the simplest submit
that is accepted, from the edge to the response: with limits, without media checks or an `Idempotency-Key`, on
SQLite. And in a read of its status. Nothing is timed, so the numbers are the same on every machine.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from bench.children import ROOT, Child, Children, RunError, free_port, split_cores
from bench.gateway import SUBMIT, prepare, submit_body

_APP = f"{ROOT / 'app'}{os.sep}"
_OK = 200
_CALLS = 3  # of which the one counts that runs through the fewest functions


@dataclass(slots=True)
class Crossings:
    """What was run: every function by its file, and every call from a function into another file, once.

    A coroutine that goes on after an await is not called again.
    """

    functions: set[tuple[str, str]] = field(default_factory=set)
    calls: set[tuple[str, str, str, str]] = field(default_factory=set)
    counting: bool = False

    def note(self, frame: FrameType, event: str, _argument: object) -> None:
        """Take one event of the interpreter's profiler."""
        if event != "call" or not self.counting or (callee := _place(frame)) is None:
            return
        self.functions.add(callee)
        above = frame.f_back
        while above is not None and (caller := _place(above)) is None:
            above = above.f_back
        if above is not None and caller is not None and caller[0] != callee[0]:
            self.calls.add((*caller, *callee))

    @property
    def files(self) -> dict[str, int]:
        """The number of functions that ran, by file."""
        found: dict[str, int] = {}
        for file, _ in sorted(self.functions):
            found[file] = found.get(file, 0) + 1
        return found


def _place(frame: FrameType) -> tuple[str, str] | None:
    """The file and the function of a frame; None where it is not of `app/`."""
    name = frame.f_code.co_filename
    if not name.startswith(_APP):
        return None
    # A comprehension belongs to the function that it stands in.
    return name.removeprefix(_APP), frame.f_code.co_qualname.partition(".<locals>.<")[0]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of this part of the benchmark."""
    parser.add_argument("--files", action="store_true", help="list the files, with their functions")


def main(options: argparse.Namespace) -> list[str]:
    """Calls a few times, counts the simplest of each kind, and prints the counts; returns no faults."""
    with tempfile.TemporaryDirectory() as folder, Children() as children:
        counted = _count(Path(folder), children)
    for what, found in counted.items():
        if options.files:
            for file, count in found.files.items():
                print(f"{count:4}  {file}")
        print(
            f"A simplest {what} runs {len(found.functions)} functions of {len(found.files)} files"
            f" and calls into another file at {len(found.calls)} places."
        )
    return []


def _count(folder: Path, children: Children) -> dict[str, Crossings]:
    port = free_port()
    _, others = split_cores(pin=False)
    standin = Child("standin", ["bench.standin", str(port)], folder=folder, cores=others)
    children.add(standin).wait_until_it_answers(port, "/count")
    site = prepare(folder, f"sqlite:///{folder / 'crossings.db'}", port, RUN_LOOPS="false")
    return asyncio.run(_call_some(site.environment, site.key))


async def _call_some(environment: Mapping[str, str], key: str) -> dict[str, Crossings]:
    os.environ.update(environment)
    # Imported only now: the settings are read from this process's environment.
    from app.config import Settings  # noqa: PLC0415
    from app.kit.log import configure_logging  # noqa: PLC0415
    from app.main import create_server_app  # noqa: PLC0415

    configure_logging(level="INFO", as_json=True)
    app, edge = create_server_app(Settings())
    found, least = Crossings(), dict[str, Crossings]()
    threading.setprofile(found.note)  # for threads that start later, such as the database's
    async with app.router.lifespan_context(app):
        status = f"/v1/requests/{await _submit(edge, key)}/status"
        # A key is remembered for a second: on a busy machine one call of a few looks it up again.
        for _ in range(_CALLS):
            for what, call in (("submit", _submit(edge, key)), ("read", _call(edge, key, "GET", status))):
                found.functions, found.calls, found.counting = set(), set(), True
                sys.setprofile(found.note)
                try:
                    await call
                finally:
                    sys.setprofile(None)
                    found.counting = False
                if what not in least or len(found.functions) < len(least[what].functions):
                    least[what] = Crossings(found.functions, found.calls)
    return least


async def _submit(edge: Any, key: str) -> str:
    """Submits, and returns the id of the request."""
    answer = await _call(edge, key, "POST", SUBMIT, submit_body("a harbour"))
    request_id: str = answer["request_id"]
    return request_id


async def _call(edge: Any, key: str, method: str, path: str, body: bytes = b"") -> dict[str, Any]:
    incoming = [{"type": "http.request", "body": body, "more_body": False}]
    answer: dict[str, Any] = {"body": b""}

    async def receive() -> dict[str, Any]:
        if incoming:
            return incoming.pop()
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            answer["status"] = message["status"]
        else:
            answer["body"] += message.get("body", b"")

    headers = {
        "host": "127.0.0.1",
        "authorization": f"Bearer {key}",
        "content-type": "application/json",
        "content-length": str(len(body)),
    }
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
        "state": {},
    }
    await edge(scope, receive, send)
    document: dict[str, Any] = json.loads(answer["body"])
    if answer["status"] != _OK or "request_id" not in document:
        raise RunError(f"{method} {path} was answered {answer}")
    return document
